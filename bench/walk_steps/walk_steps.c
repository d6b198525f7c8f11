// SPDX-License-Identifier: GPL-2.0
/*
 * Counts what it costs to walk the resource tree and to read /proc/iomem.
 *
 * Loaded with nr=N into a guest of "qemu -icount shift=0", in which the time
 * stamp counter advances by one for each instruction. Adds N entries of System
 * RAM that cannot be merged, walks over them with each function, removes them,
 * and leaves "name instructions entries" lines in the parameter "result".
 *
 * With readers=M as well, it walks nothing: M threads read /proc/iomem in a loop,
 * and "result" is how long request_mem_region() takes meanwhile, "mean longest" in
 * ns. That is by the clock, so a guest with CPUs for all of them is to be used.
 *
 * Some walks are not exported. The guest looks them up in /proc/kallsyms and
 * passes their addresses, so that the same module runs on any kernel.
 */
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/pfn.h>
#include <linux/sizes.h>
#include <linux/vmalloc.h>
#include <asm/msr.h>

/* Physical addresses that no guest of ours uses */
#define AREA		(512ULL * SZ_1G)
/* One page of System RAM, one page of nothing */
#define STRIDE		(2 * PAGE_SIZE)
/* How often to ask for a region while /proc/iomem is read, and readers at most */
#define REQUESTS	1000
#define MAX_READERS	8

typedef int (*res_walk_t)(u64 start, u64 end, void *arg,
			  int (*func)(struct resource *, void *));
typedef int (*range_walk_t)(unsigned long pfn, unsigned long nr_pages, void *arg,
			    int (*func)(unsigned long, unsigned long, void *));

static unsigned int nr = 64;
module_param(nr, uint, 0444);
MODULE_PARM_DESC(nr, "number of resources");

static unsigned int readers;
module_param(readers, uint, 0444);
MODULE_PARM_DESC(readers, "threads that read /proc/iomem while regions are requested");

static unsigned long walk_system_ram_res_addr, walk_system_ram_res_rev_addr;
static unsigned long walk_mem_res_addr, walk_system_ram_range_addr;
module_param_named(walk_system_ram_res, walk_system_ram_res_addr, ulong, 0444);
module_param_named(walk_system_ram_res_rev, walk_system_ram_res_rev_addr, ulong, 0444);
module_param_named(walk_mem_res, walk_mem_res_addr, ulong, 0444);
module_param_named(walk_system_ram_range, walk_system_ram_range_addr, ulong, 0444);

static char result[512];
module_param_string(result, result, sizeof(result), 0444);

static int count(struct resource *res, void *arg)
{
	++*(unsigned int *)arg;
	return 0;
}

static int count_pages(unsigned long pfn, unsigned long nr_pages, void *arg)
{
	++*(unsigned int *)arg;
	return 0;
}

static void note(const char *name, u64 instructions, unsigned int entries)
{
	size_t len = strlen(result);

	scnprintf(result + len, sizeof(result) - len, "%s %llu %u\n", name,
		  instructions, entries);
}

static void walk_res(const char *name, unsigned long addr)
{
	res_walk_t walk = (res_walk_t)addr;
	unsigned int entries = 0;
	u64 before = rdtsc_ordered();

	walk(AREA, AREA + nr * STRIDE - 1, &entries, count);
	note(name, rdtsc_ordered() - before, entries);
}

static void walk_range(void)
{
	range_walk_t walk = (range_walk_t)walk_system_ram_range_addr;
	unsigned int entries = 0;
	u64 before = rdtsc_ordered();

	walk(PFN_DOWN(AREA), nr * STRIDE / PAGE_SIZE, &entries, count_pages);
	note("walk_system_ram_range", rdtsc_ordered() - before, entries);
}

static void walk_desc(void)
{
	unsigned int entries = 0;
	u64 before = rdtsc_ordered();

	walk_iomem_res_desc(IORES_DESC_NONE, IORESOURCE_SYSTEM_RAM | IORESOURCE_BUSY,
			    AREA, AREA + nr * STRIDE - 1, &entries, count);
	note("walk_iomem_res_desc", rdtsc_ordered() - before, entries);
}

/* Entries are lines here: some more than were added. */
static int read_iomem(void)
{
	unsigned int lines = 0;
	struct file *file;
	ssize_t len, i;
	loff_t pos = 0;
	u64 before, after;
	char *buf;

	buf = vmalloc(SZ_64K);
	if (!buf)
		return -ENOMEM;
	file = filp_open("/proc/iomem", O_RDONLY, 0);
	if (IS_ERR(file)) {
		vfree(buf);
		return PTR_ERR(file);
	}
	before = rdtsc_ordered();
	after = before;
	while ((len = kernel_read(file, buf, SZ_64K, &pos)) > 0) {
		after = rdtsc_ordered();
		for (i = 0; i < len; i++)
			lines += buf[i] == '\n';
		/* counting lines is not part of it */
		before += rdtsc_ordered() - after;
	}
	after = rdtsc_ordered();
	note("read_proc_iomem", after - before, lines);
	filp_close(file, NULL);
	vfree(buf);
	return len;
}

static int read_again_and_again(void *unused)
{
	char *buf = vmalloc(SZ_64K);
	struct file *file;
	loff_t pos;

	while (buf && !kthread_should_stop()) {
		file = filp_open("/proc/iomem", O_RDONLY, 0);
		if (IS_ERR(file))
			break;
		for (pos = 0; kernel_read(file, buf, SZ_64K, &pos) > 0;)
			cond_resched();
		filp_close(file, NULL);
	}
	vfree(buf);
	while (!kthread_should_stop())
		msleep(1);
	return 0;
}

/* In front of all entries, so that the place is found at once. */
static int time_requests(void)
{
	struct task_struct *reader[MAX_READERS];
	unsigned int i, running;
	u64 longest = 0, sum = 0;
	int ret = 0;

	for (running = 0; running < min(readers, MAX_READERS); running++) {
		reader[running] = kthread_run(read_again_and_again, NULL, "read_iomem");
		if (IS_ERR(reader[running])) {
			ret = PTR_ERR(reader[running]);
			break;
		}
	}
	msleep(100);
	for (i = 0; !ret && i < REQUESTS; i++) {
		ktime_t before = ktime_get();
		u64 took;

		if (!request_mem_region(AREA - STRIDE, PAGE_SIZE, "steps"))
			ret = -EBUSY;
		took = ktime_to_ns(ktime_sub(ktime_get(), before));
		release_mem_region(AREA - STRIDE, PAGE_SIZE);
		sum += took;
		longest = max(longest, took);
		usleep_range(500, 1500);
	}
	while (running--)
		kthread_stop(reader[running]);
	scnprintf(result, sizeof(result), "%llu %llu\n", sum / REQUESTS, longest);
	return ret;
}

static void remove_entries(unsigned int first)
{
	for (; first < nr; first++)
		release_mem_region(AREA + first * STRIDE, PAGE_SIZE);
}

static int __init walk_steps_init(void)
{
	unsigned int i;
	int ret;

	/* from the end, so that each finds its place at once */
	for (i = nr; i--;) {
		if (!__request_region(&iomem_resource, AREA + i * STRIDE, PAGE_SIZE,
				      "System RAM (steps)", IORESOURCE_SYSTEM_RAM)) {
			remove_entries(i + 1);
			return -EBUSY;
		}
	}
	if (readers) {
		ret = time_requests();
		remove_entries(0);
		return ret;
	}
	walk_desc();
	walk_res("walk_system_ram_res", walk_system_ram_res_addr);
	walk_res("walk_system_ram_res_rev", walk_system_ram_res_rev_addr);
	walk_res("walk_mem_res", walk_mem_res_addr);
	walk_range();
	ret = read_iomem();
	remove_entries(0);
	return ret;
}

static void __exit walk_steps_exit(void)
{
}

module_init(walk_steps_init);
module_exit(walk_steps_exit);
MODULE_DESCRIPTION("Cost of walking the resource tree");
MODULE_LICENSE("GPL");
