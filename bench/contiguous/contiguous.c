// SPDX-License-Identifier: GPL-2.0
/*
 * Sets zone->contiguous of all zones as if nothing had been hotplugged, for as long as the module is loaded and no memory
 * comes or goes: what does compaction gain if it checks no pageblock? For the base only, the series has no such flag.
 */
#include <linux/mmzone.h>
#include <linux/module.h>
#include <linux/nodemask.h>

static void set_all(bool contiguous)
{
	int nid, i;

	for_each_online_node(nid)
		for (i = 0; i < MAX_NR_ZONES; i++)
			NODE_DATA(nid)->node_zones[i].contiguous = contiguous;
}

static int __init contiguous_init(void)
{
	set_all(true);
	return 0;
}

static void __exit contiguous_exit(void)
{
	set_all(false);
}

module_init(contiguous_init);
module_exit(contiguous_exit);
MODULE_DESCRIPTION("What zone->contiguous gains");
MODULE_LICENSE("GPL");
