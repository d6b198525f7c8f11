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
#include <linux/hrtimer.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/smp.h>
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

/*
 * Each CPU looks whether another one copies, as any of them can be that one. It does so in an interrupt: a CPU that waits for the one
 * that copies, to flush its TLB, runs no task any more.
 */
static DEFINE_PER_CPU(struct hrtimer, watch);

static enum hrtimer_restart look(struct hrtimer *timer)
{
	if (smp_load_acquire(&copying))
		panic("crasher: while another CPU copies the header");
	hrtimer_forward_now(timer, ms_to_ktime(1));
	return HRTIMER_RESTART;
}

static void start_watch(void *unused)
{
	struct hrtimer *timer = this_cpu_ptr(&watch);

	hrtimer_setup(timer, look, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_HARD);
	hrtimer_start(timer, ms_to_ktime(1), HRTIMER_MODE_REL_PINNED_HARD);
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
	if (!strcmp(how, "elsewhere"))
		on_each_cpu(start_watch, NULL, true);
	return register_kprobe(&copy);
}
module_init(crasher_init);

MODULE_DESCRIPTION("Makes updates of the crash kernel's header go wrong");
MODULE_LICENSE("GPL");
