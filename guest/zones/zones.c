// SPDX-License-Identifier: GPL-2.0
/*
 * Shows what the kernel says of its zones, and what is true: /sys/kernel/debug/zones has a line
 * "node zone says is" for each zone that has memory, of which "says" is zone->contiguous and "is"
 * what a look at every pageblock of its span finds.
 *
 * It is written from the definition, and shares no code with what it checks: a pageblock, as far as
 * the span has it, is in the zone if its first page is online and its first and last page are of
 * this zone.
 */
#include <linux/debugfs.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pageblock-flags.h>
#include <linux/seq_file.h>

/* They keep memory from coming and going meanwhile, and are not exported. */
static unsigned long get_online_mems_addr, put_online_mems_addr;
module_param_named(get_online_mems, get_online_mems_addr, ulong, 0444);
module_param_named(put_online_mems, put_online_mems_addr, ulong, 0444);

static bool has_no_holes(struct zone *zone)
{
	unsigned long start = zone->zone_start_pfn;
	const unsigned long behind = start + zone->spanned_pages;

	while (start < behind) {
		unsigned long last = start | (pageblock_nr_pages - 1);
		struct page *page = pfn_to_online_page(start);

		if (last >= behind)
			last = behind - 1;
		if (!page || page_zone(page) != zone)
			return false;
		if (!pfn_valid(last) || page_zone(pfn_to_page(last)) != zone)
			return false;
		start = last + 1;
		cond_resched();
	}
	return true;
}

static int zones_show(struct seq_file *file, void *unused)
{
	int nid, i;

	((void (*)(void))get_online_mems_addr)();
	for_each_online_node(nid) {
		for (i = 0; i < MAX_NR_ZONES; i++) {
			struct zone *zone = NODE_DATA(nid)->node_zones + i;

			if (populated_zone(zone))
				seq_printf(file, "%d %s %d %d\n", nid, zone->name,
					   zone->contiguous, has_no_holes(zone));
		}
	}
	((void (*)(void))put_online_mems_addr)();
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(zones);

static struct dentry *file;

static int __init zones_init(void)
{
	if (!get_online_mems_addr || !put_online_mems_addr)
		return -EINVAL;
	file = debugfs_create_file("zones", 0444, NULL, NULL, &zones_fops);
	return 0;
}

static void __exit zones_exit(void)
{
	debugfs_remove(file);
}

module_init(zones_init);
module_exit(zones_exit);
MODULE_DESCRIPTION("What the kernel says of its zones, and what is true");
MODULE_LICENSE("GPL");
