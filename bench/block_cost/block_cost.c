// SPDX-License-Identifier: GPL-2.0
/*
 * What each memory block costs: notes the CPU time that the task at it has used so far whenever one
 * has gone online or offline. Under "qemu -icount shift=0", a nanosecond is an instruction.
 *
 * /sys/kernel/debug/block_cost has a line "number nanoseconds" for each block but the first that one
 * task has handled without pause, in the order in which they came: what passed since the block
 * before. Opening it for writing forgets them.
 */
#include <linux/debugfs.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/timekeeping.h>

#define MOST_BLOCKS	16384

static unsigned long task_sched_runtime_addr;
module_param_named(task_sched_runtime, task_sched_runtime_addr, ulong, 0444);

static struct {
	struct task_struct *task;
	unsigned long block;
	u64 runtime;
} notes[MOST_BLOCKS];
static unsigned int nr_notes;

static u64 runtime(struct task_struct *task)
{
	return ((u64 (*)(struct task_struct *))task_sched_runtime_addr)(task);
}

static int note(struct notifier_block *self, unsigned long action, void *arg)
{
	const struct memory_notify *notify = arg;

	if ((action == MEM_ONLINE || action == MEM_OFFLINE) && nr_notes < MOST_BLOCKS) {
		notes[nr_notes].task = current;
		notes[nr_notes].block = PFN_PHYS(notify->start_pfn) / memory_block_size_bytes();
		notes[nr_notes].runtime = runtime(current);
		nr_notes++;
	}
	return NOTIFY_OK;
}

/* Behind all others, so that what they do for a block is in what it costs. */
static struct notifier_block notifier = { .notifier_call = note, .priority = INT_MIN };

static int block_cost_show(struct seq_file *file, void *unused)
{
	unsigned int i;

	for (i = 1; i < nr_notes; i++)
		if (notes[i].task == notes[i - 1].task)
			seq_printf(file, "%lu %llu\n", notes[i].block,
				   notes[i].runtime - notes[i - 1].runtime);
	return 0;
}

static int block_cost_open(struct inode *inode, struct file *file)
{
	if (file->f_mode & FMODE_WRITE)
		nr_notes = 0;
	return single_open_size(file, block_cost_show, NULL, MOST_BLOCKS * 24);
}

static const struct file_operations block_cost_fops = {
	.owner = THIS_MODULE,
	.open = block_cost_open,
	.read = seq_read,
	.llseek = seq_lseek,
	.release = single_release,
};

static struct dentry *file;

static int __init block_cost_init(void)
{
	int error;

	if (!task_sched_runtime_addr)
		return -EINVAL;
	error = register_memory_notifier(&notifier);
	if (!error)
		file = debugfs_create_file("block_cost", 0644, NULL, NULL, &block_cost_fops);
	return error;
}

static void __exit block_cost_exit(void)
{
	debugfs_remove(file);
	unregister_memory_notifier(&notifier);
}

module_init(block_cost_init);
module_exit(block_cost_exit);
MODULE_DESCRIPTION("What each memory block costs");
MODULE_LICENSE("GPL");
