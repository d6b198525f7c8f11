// SPDX-License-Identifier: GPL-2.0
/*
 * What is in the memory map of a memory block that goes online: before any of its pages is given to the buddy, and
 * after all are.
 *
 * /sys/kernel/debug/memmap_copy/before and after are the struct pages of the memory block that went online last,
 * pageblocks are the flags of its pageblocks after that, and address is where the first of these struct pages is.
 */
#include <linux/debugfs.h>
#include <linux/memory.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/module.h>
#include <linux/vmalloc.h>

static struct debugfs_blob_wrapper before, after, pageblocks;
static u64 address;
static struct dentry *directory;

static int copy(struct notifier_block *self, unsigned long action, void *arg)
{
	const struct memory_notify *notify = arg;
	/* A memory block that hosts its memory map goes online without that. */
	unsigned long pfn = ALIGN_DOWN(notify->start_pfn, memory_block_size_bytes() / PAGE_SIZE);

	address = (unsigned long)pfn_to_page(pfn);
	if (action == MEM_GOING_ONLINE)
		memcpy(before.data, pfn_to_page(pfn), before.size);
	if (action != MEM_ONLINE)
		return NOTIFY_OK;
	memcpy(after.data, pfn_to_page(pfn), after.size);
	memcpy(pageblocks.data, section_to_usemap(__pfn_to_section(pfn)), pageblocks.size);
	return NOTIFY_OK;
}

/* Behind all others, which may change struct pages. */
static struct notifier_block notifier = { .notifier_call = copy, .priority = INT_MIN };

static void release(void)
{
	debugfs_remove(directory);
	vfree(before.data);
	vfree(after.data);
	vfree(pageblocks.data);
}

static int __init memmap_copy_init(void)
{
	int error;

	before.size = after.size = memory_block_size_bytes() / PAGE_SIZE * sizeof(struct page);
	pageblocks.size = BITS_TO_LONGS(SECTION_BLOCKFLAGS_BITS) * sizeof(unsigned long);
	before.data = vzalloc(before.size);
	after.data = vzalloc(after.size);
	pageblocks.data = vzalloc(pageblocks.size);
	error = before.data && after.data && pageblocks.data ? register_memory_notifier(&notifier) : -ENOMEM;
	if (error) {
		release();
		return error;
	}
	directory = debugfs_create_dir("memmap_copy", NULL);
	debugfs_create_blob("before", 0400, directory, &before);
	debugfs_create_blob("after", 0400, directory, &after);
	debugfs_create_blob("pageblocks", 0400, directory, &pageblocks);
	debugfs_create_x64("address", 0400, directory, &address);
	return 0;
}

static void __exit memmap_copy_exit(void)
{
	unregister_memory_notifier(&notifier);
	release();
}

module_init(memmap_copy_init);
module_exit(memmap_copy_exit);
MODULE_DESCRIPTION("The memory map of a memory block that goes online");
MODULE_LICENSE("GPL");
