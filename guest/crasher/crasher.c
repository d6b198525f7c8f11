// SPDX-License-Identifier: GPL-2.0
/*
 * Makes the next update of the crash kernel's header go wrong, by the parameter "how":
 *
 *   here       a panic on the CPU that copies the header, in the middle of it
 *   elsewhere  a panic on another CPU, while that one copies the header
 *   failing    there is no memory to make the header, once
 *
 * What the copy has not written yet is filled with 0xff.
 */
#include <linux/delay.h>
#include <linux/kprobes.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/string.h>

static char *how = "here";
module_param(how, charp, 0444);

static atomic_t done;
static bool copying;

static int before_copy(struct kprobe *probe, struct pt_regs *regs)
{
	if (atomic_xchg(&done, 1))
		return 0;
	memset((void *)regs->di, 0xff, regs->dx);	/* to, size */
	if (!strcmp(how, "here"))
		panic("crasher: while the header is copied");
	smp_store_release(&copying, true);
	while (true)
		cpu_relax();
}

static struct kprobe copy = { .symbol_name = "__memcpy_flushcache", .pre_handler = before_copy };

static int wait_for_copy(void *unused)
{
	while (!smp_load_acquire(&copying))
		usleep_range(100, 200);
	panic("crasher: while another CPU copies the header");
	return 0;
}

static int after_prepare(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	if (!atomic_xchg(&done, 1))
		regs_set_return_value(regs, -ENOMEM);
	return 0;
}

static struct kretprobe prepare = {
	.kp.symbol_name = "crash_prepare_elf64_headers", .handler = after_prepare,
};

static int __init crasher_init(void)
{
	if (!strcmp(how, "failing"))
		return register_kretprobe(&prepare);
	if (!strcmp(how, "elsewhere")) {
		/* Each CPU has one that waits, as any of them can be the one that copies. */
		unsigned int cpu;

		for_each_online_cpu(cpu)
			wake_up_process(kthread_create_on_cpu(wait_for_copy, NULL, cpu, "crasher/%u"));
	}
	return register_kprobe(&copy);
}
module_init(crasher_init);

MODULE_DESCRIPTION("Makes updates of the crash kernel's header go wrong");
MODULE_LICENSE("GPL");
