// SPDX-License-Identifier: GPL-2.0
/*
 * Who looks at struct pages by their number, and what happens if memory goes while somebody does.
 *
 * /sys/kernel/debug/looker/sites has a line "function+place task looks naked" for each place that has called
 * pfn_to_online_page() so far, and each task there: how often, and how often outside of an RCU read-side critical section.
 * Opening it for writing forgets them. A last line says "too many" if there was no room for all.
 *
 * "place task" written to /sys/kernel/debug/looker/hold, with a place from that list: of the next memory block that goes
 * offline, the first page that the task looks up there makes it stop right behind the look, where it can be
 * preempted. Going offline waits for that, on another CPU. The task stays stopped for HOLD_MS, or until its memory map is
 * written or freed, if that does not wait. Reading "hold" then says "waited" or "gone"; "idle" if no memory goes, or
 * nobody came; "missed" if the task was in an RCU read-side critical section and had left that when it stopped.
 *
 * "scanner" written to hold: when pages are isolated next, a free scanner of compaction stops on another CPU that has found one of
 * their pageblocks suitable, and goes on when all of them have been found to be free. Reading "hold" then says "gone".
 *
 * The name of a function written to /sys/kernel/debug/looker/calls: how often it is called from then on is what reading
 * says.
 *
 * Probes must not be optimized to jumps, in which preemption is disabled: write 0 to /proc/sys/debug/kprobes-optimization
 * first.
 *
 * A task is stopped by a task of real-time priority on its CPU. Where it holds a spinlock it goes on until it drops that.
 */
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/irq_work.h>
#include <linux/kallsyms.h>
#include <linux/kprobes.h>
#include <linux/kthread.h>
#include <linux/memory.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#define HOLD_MS		800	/* real-time tasks are throttled after 950 */
#define COME_MS		60000	/* how long a task may take until it looks */
#define SCAN_MS		200	/* and a scanner: a CPU does nothing else meanwhile */
#define MOST_SITES	512

static struct site {
	unsigned long addr;
	char comm[TASK_COMM_LEN];
	atomic_long_t looks, naked;
} sites[MOST_SITES];
static unsigned int nr_sites;
static bool too_many;
static DEFINE_RAW_SPINLOCK(sites_lock);

/* States of one hold, in their order. */
enum { IDLE, WANTED, ARMED, CAUGHT, STOPPED, WAITED, GONE, MISSED };
static const char * const state_names[] = {
	"idle", "wanted", "armed", "caught", "stopped", "waited", "gone", "missed",
};
static atomic_t state;
static unsigned long armed_start, armed_end;	/* pfns */
static int armed_not_on;			/* the CPU that takes the memory offline */
static bool scanner_wanted;			/* and no task that looks */
static char held_comm[TASK_COMM_LEN];
static unsigned long held_addr;
static struct task_struct *caught;		/* is stopped, so it does not go away */
static bool caught_in_section;
static DECLARE_WAIT_QUEUE_HEAD(change);

static struct task_struct *hogs[NR_CPUS];
static struct irq_work wake_hog[NR_CPUS];
static DECLARE_WAIT_QUEUE_HEAD(hog_wait);
static int hog_wanted_on = -1;

/* Whether the interrupted code is in an RCU read-side critical section of any kind. */
static bool in_section(struct pt_regs *regs)
{
	return (preempt_count() & (PREEMPT_MASK | SOFTIRQ_MASK)) || rcu_preempt_depth() || regs_irqs_disabled(regs);
}

/* At the entry of a function: where it returns to. */
static unsigned long caller(struct pt_regs *regs)
{
#ifdef CONFIG_ARM64
	return regs->regs[30];
#else
	return *(unsigned long *)regs->sp;
#endif
}

/* And what it is given. */
static unsigned long argument(struct pt_regs *regs, unsigned int number)
{
	return regs_get_kernel_argument(regs, number);
}

/* At the entry of pfn_to_online_page(). */
static int note_site(struct kprobe *probe, struct pt_regs *regs)
{
	unsigned long addr = caller(regs);
	unsigned int i;

	/* For lockdep, probes are NMIs, and have to try. */
	while (!raw_spin_trylock(&sites_lock))
		cpu_relax();
	for (i = 0; i < nr_sites && (sites[i].addr != addr || strcmp(sites[i].comm, current->comm)); i++)
		;
	if (i == nr_sites && nr_sites < MOST_SITES) {
		sites[i].addr = addr;
		strscpy(sites[i].comm, current->comm);
		nr_sites++;
	}
	raw_spin_unlock(&sites_lock);
	too_many |= i == MOST_SITES;
	if (i < MOST_SITES) {
		atomic_long_inc(&sites[i].looks);
		if (!in_section(regs))
			atomic_long_inc(&sites[i].naked);
	}
	return 0;
}

static struct kprobe lookup_probe = {
	.symbol_name = "pfn_to_online_page",
	.pre_handler = note_site,
};

/* When the task to be held calls pfn_to_online_page() in the place where that is wanted. */
static int enter(struct kretprobe_instance *look, struct pt_regs *regs)
{
	if (atomic_read(&state) != ARMED || scanner_wanted || caller(regs) != held_addr ||
	    strcmp(current->comm, held_comm) || smp_processor_id() == armed_not_on)
		return 1;
	*(bool *)look->data = in_section(regs);
	return 0;
}

/* When it has returned. */
static int catch(struct kretprobe_instance *look, struct pt_regs *regs)
{
	const struct page *page = (struct page *)regs_return_value(regs);
	unsigned long pfn;

	if (!page)
		return 0;
	pfn = page_to_pfn(page);
	if (pfn < armed_start || pfn >= armed_end || atomic_cmpxchg(&state, ARMED, CAUGHT) != ARMED)
		return 0;
	caught = current;
	caught_in_section = *(bool *)look->data;
	/* An interrupt as soon as these are enabled, which is at once. */
	irq_work_queue(&wake_hog[smp_processor_id()]);
	return 0;
}

/*
 * Is there all the time, like the other probes: QEMU executes a breakpoint now and then that was removed from code that
 * another CPU is in.
 */
static struct kretprobe hold_probe = {
	.kp.symbol_name = "pfn_to_online_page",
	.entry_handler = enter,
	.handler = catch,
	.data_size = sizeof(bool),
	.maxactive = 64,
};

static void do_wake_hog(struct irq_work *work)
{
	WRITE_ONCE(hog_wanted_on, smp_processor_id());
	wake_up_all(&hog_wait);
}

static int hog(void *cpu)
{
	unsigned long end;

	while (!kthread_should_stop()) {
		wait_event_interruptible(hog_wait, kthread_should_stop() ||
					 READ_ONCE(hog_wanted_on) == (long)cpu);
		if (kthread_should_stop())
			break;
		WRITE_ONCE(hog_wanted_on, -1);
		atomic_set(&state, caught_in_section && !READ_ONCE(caught->rcu_read_lock_nesting) ? MISSED : STOPPED);
		wake_up_all(&change);
		end = jiffies + msecs_to_jiffies(HOLD_MS);
		while (atomic_read(&state) == STOPPED && time_before(jiffies, end))
			cpu_relax();
		atomic_cmpxchg(&state, STOPPED, WAITED);
	}
	return 0;
}

/* The memory map goes now. Have mercy, and let the task be through with it. */
static void gone(unsigned long pfn, unsigned long nr_pages)
{
	if (pfn < armed_end && pfn + nr_pages > armed_start &&
	    atomic_cmpxchg(&state, STOPPED, GONE) == STOPPED)
		mdelay(100);
}

/* page_init_poison(page, size) */
static int poisoned(struct kprobe *probe, struct pt_regs *regs)
{
	gone(page_to_pfn((struct page *)argument(regs, 0)), argument(regs, 1) / sizeof(struct page));
	return 0;
}

/* memmap_init_hotplugged(nr_pages, nid, zone, pfn, ...), or memmap_init_range() with the same */
static int initialized(struct kprobe *probe, struct pt_regs *regs)
{
	gone(argument(regs, 3), argument(regs, 0));
	return 0;
}

/* arch_remove_memory(address, size, ...) */
static int removed(struct kprobe *probe, struct pt_regs *regs)
{
	gone(PHYS_PFN(argument(regs, 0)), PHYS_PFN(argument(regs, 1)));
	return 0;
}

/* start_isolate_page_range(start_pfn, end_pfn, ...): waits for a scanner. */
static int isolates(struct kprobe *probe, struct pt_regs *regs)
{
	unsigned int ms;

	if (atomic_read(&state) != WANTED || !scanner_wanted)
		return 0;
	armed_start = argument(regs, 0);
	armed_end = argument(regs, 1);
	armed_not_on = smp_processor_id();
	atomic_set(&state, ARMED);
	for (ms = 0; ms < SCAN_MS && atomic_read(&state) < STOPPED; ms++)
		mdelay(1);
	atomic_cmpxchg(&state, ARMED, IDLE);
	return 0;
}

/* isolate_freepages_block(cc, start_pfn, end_pfn, ...), which begins behind the look at the pageblock's type */
static int scans(struct kprobe *probe, struct pt_regs *regs)
{
	unsigned long last = argument(regs, 2) - 1;

	if (!scanner_wanted || smp_processor_id() == armed_not_on || last < armed_start || last >= armed_end ||
	    atomic_cmpxchg(&state, ARMED, CAUGHT) != ARMED)
		return 0;
	caught = current;
	caught_in_section = false;
	irq_work_queue(&wake_hog[smp_processor_id()]);
	return 0;
}

/* test_pages_isolated(start_pfn, end_pfn, ...) */
static int test_enter(struct kretprobe_instance *test, struct pt_regs *regs)
{
	*(unsigned long *)test->data = argument(regs, 0);
	return !scanner_wanted;
}

/* All are free: from here on nobody may take one. */
static int tested(struct kretprobe_instance *test, struct pt_regs *regs)
{
	if (!regs_return_value(regs))
		gone(*(unsigned long *)test->data, 1);
	return 0;
}

static struct kretprobe test_probe = {
	.kp.symbol_name = "test_pages_isolated",
	.entry_handler = test_enter,
	.handler = tested,
	.data_size = sizeof(unsigned long),
};

static struct kprobe probes[] = {
	{ .symbol_name = "start_isolate_page_range", .pre_handler = isolates },
	{ .symbol_name = "isolate_freepages_block", .pre_handler = scans },
	{ .symbol_name = "page_init_poison", .pre_handler = poisoned },
	{ .symbol_name = "memmap_init_hotplugged", .pre_handler = initialized },
	{ .symbol_name = "arch_remove_memory", .pre_handler = removed },
};

static int notify(struct notifier_block *self, unsigned long action, void *arg)
{
	const struct memory_notify *memory = arg;

	if (action != MEM_GOING_OFFLINE || atomic_read(&state) != WANTED || scanner_wanted)
		return NOTIFY_OK;
	armed_start = memory->start_pfn;
	armed_end = memory->start_pfn + memory->nr_pages;
	/* Stays on this CPU, so that it is not behind the hog. */
	migrate_disable();
	armed_not_on = raw_smp_processor_id();
	atomic_set(&state, ARMED);
	wait_event_timeout(change, atomic_read(&state) >= STOPPED, msecs_to_jiffies(COME_MS));
	atomic_cmpxchg(&state, ARMED, IDLE);
	migrate_enable();
	return NOTIFY_OK;
}

/* Behind all others: those may say no. */
static struct notifier_block notifier = { .notifier_call = notify, .priority = INT_MIN };

static int sites_show(struct seq_file *file, void *unused)
{
	unsigned int i;

	for (i = 0; i < nr_sites; i++)
		seq_printf(file, "%ps+0x%lx %s %ld %ld\n", (void *)sites[i].addr, sites[i].addr, sites[i].comm,
			   atomic_long_read(&sites[i].looks), atomic_long_read(&sites[i].naked));
	if (too_many)
		seq_puts(file, "too many\n");
	return 0;
}

static int sites_open(struct inode *inode, struct file *file)
{
	if (file->f_mode & FMODE_WRITE) {
		guard(raw_spinlock_irq)(&sites_lock);
		memset(sites, 0, sizeof(sites));
		nr_sites = 0;
		too_many = false;
	}
	return single_open(file, sites_show, NULL);
}

static const struct file_operations sites_fops = {
	.owner = THIS_MODULE,
	.open = sites_open,
	.read = seq_read,
	.llseek = seq_lseek,
	.release = single_release,
};

static int hold_show(struct seq_file *file, void *unused)
{
	seq_printf(file, "%s\n", state_names[atomic_read(&state)]);
	return 0;
}

static int hold_open(struct inode *inode, struct file *file)
{
	return single_open(file, hold_show, NULL);
}

static ssize_t hold_write(struct file *file, const char __user *user, size_t count, loff_t *pos)
{
	char text[80];

	if (count >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, user, count))
		return -EFAULT;
	text[count] = 0;
	atomic_set(&state, IDLE);
	scanner_wanted = sysfs_streq(text, "scanner");
	if (!scanner_wanted && sscanf(text, "%lx %15s", &held_addr, held_comm) != 2)
		return -EINVAL;
	atomic_set(&state, WANTED);
	return count;
}

static const struct file_operations hold_fops = {
	.owner = THIS_MODULE,
	.open = hold_open,
	.read = seq_read,
	.write = hold_write,
	.llseek = seq_lseek,
	.release = single_release,
};

static atomic_long_t nr_calls;
static char counted_name[KSYM_NAME_LEN];

static int count_call(struct kprobe *probe, struct pt_regs *regs)
{
	atomic_long_inc(&nr_calls);
	return 0;
}

static struct kprobe count_probe = { .pre_handler = count_call };
static bool count_registered;

static int calls_show(struct seq_file *file, void *unused)
{
	seq_printf(file, "%ld\n", atomic_long_read(&nr_calls));
	return 0;
}

static int calls_open(struct inode *inode, struct file *file)
{
	return single_open(file, calls_show, NULL);
}

static ssize_t calls_write(struct file *file, const char __user *user, size_t count, loff_t *pos)
{
	int error;

	if (count >= sizeof(counted_name))
		return -EINVAL;
	if (count_registered)
		unregister_kprobe(&count_probe);
	count_registered = false;
	if (copy_from_user(counted_name, user, count))
		return -EFAULT;
	counted_name[count] = 0;
	count_probe.addr = NULL;
	count_probe.flags = 0;
	count_probe.symbol_name = strim(counted_name);
	atomic_long_set(&nr_calls, 0);
	error = register_kprobe(&count_probe);
	if (error)
		return error;
	count_registered = true;
	return count;
}

static const struct file_operations calls_fops = {
	.owner = THIS_MODULE,
	.open = calls_open,
	.read = seq_read,
	.write = calls_write,
	.llseek = seq_lseek,
	.release = single_release,
};

static struct dentry *directory;

static void unregister_probes(unsigned int count)
{
	while (count--)
		unregister_kprobe(&probes[count]);
}

static int register_probes(void)
{
	unsigned int i;
	int error;

	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		error = register_kprobe(&probes[i]);
		if (error == -ENOENT && probes[i].pre_handler == initialized) {
			/* The base has one function for this and for boot. */
			probes[i].symbol_name = "memmap_init_range";
			error = register_kprobe(&probes[i]);
		}
		if (error) {
			unregister_probes(i);
			return error;
		}
	}
	return 0;
}

static void stop_hogs(void)
{
	int cpu;

	for_each_possible_cpu(cpu)
		if (hogs[cpu])
			kthread_stop(hogs[cpu]);
}

static int __init looker_init(void)
{
	long cpu;
	int error;

	for_each_online_cpu(cpu) {
		struct task_struct *task = kthread_create_on_cpu(hog, (void *)cpu, cpu, "hog/%u");

		if (IS_ERR(task)) {
			stop_hogs();
			return PTR_ERR(task);
		}
		init_irq_work(&wake_hog[cpu], do_wake_hog);
		sched_set_fifo(task);
		hogs[cpu] = task;
		wake_up_process(task);
	}
	error = register_memory_notifier(&notifier);
	if (error) {
		stop_hogs();
		return error;
	}
	error = register_probes();
	if (error) {
		unregister_memory_notifier(&notifier);
		stop_hogs();
		return error;
	}
	error = register_kprobe(&lookup_probe);
	if (error) {
		unregister_probes(ARRAY_SIZE(probes));
		unregister_memory_notifier(&notifier);
		stop_hogs();
		return error;
	}
	error = register_kretprobe(&hold_probe);
	if (!error) {
		error = register_kretprobe(&test_probe);
		if (error)
			unregister_kretprobe(&hold_probe);
	}
	if (error) {
		unregister_kprobe(&lookup_probe);
		unregister_probes(ARRAY_SIZE(probes));
		unregister_memory_notifier(&notifier);
		stop_hogs();
		return error;
	}
	directory = debugfs_create_dir("looker", NULL);
	debugfs_create_file("sites", 0644, directory, NULL, &sites_fops);
	debugfs_create_file("hold", 0644, directory, NULL, &hold_fops);
	debugfs_create_file("calls", 0644, directory, NULL, &calls_fops);
	return 0;
}

static void __exit looker_exit(void)
{
	debugfs_remove(directory);
	unregister_kretprobe(&test_probe);
	unregister_kretprobe(&hold_probe);
	if (count_registered)
		unregister_kprobe(&count_probe);
	unregister_kprobe(&lookup_probe);
	unregister_probes(ARRAY_SIZE(probes));
	unregister_memory_notifier(&notifier);
	stop_hogs();
}

module_init(looker_init);
module_exit(looker_exit);
MODULE_DESCRIPTION("Stops those who look at memory while it goes");
MODULE_LICENSE("GPL");
