// SPDX-License-Identifier: GPL-2.0
/*
 * Counts what it costs to walk the resource tree and to read /proc/iomem.
 *
 * Loaded with nr=N into a guest of "qemu -icount shift=0", in which the time
 * stamp counter advances by one for each instruction. Adds N entries of System
 * RAM that cannot be merged, walks over them with each function, removes them,
 * and leaves "name instructions entries" lines in the parameter "result".
 *
 * Some walks are not exported. The guest looks them up in /proc/kallsyms and
 * passes their addresses, so that the same module runs on any kernel.
 */
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/module.h>
#include <linux/pfn.h>
#include <linux/sizes.h>
#include <linux/vmalloc.h>
#include <asm/msr.h>

/* Physical addresses that no guest of ours uses */
#define AREA		(512ULL * SZ_1G)
/* One page of System RAM, one page of nothing */
#define STRIDE		(2 * PAGE_SIZE)

typedef int (*res_walk_t)(u64 start, u64 end, void *arg,
			  int (*func)(struct resource *, void *));
typedef int (*range_walk_t)(unsigned long pfn, unsigned long nr_pages, void *arg,
			    int (*func)(unsigned long, unsigned long, void *));

static unsigned int nr = 64;
module_param(nr, uint, 0444);
MODULE_PARM_DESC(nr, "number of resources");

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
