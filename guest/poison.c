// SPDX-License-Identifier: GPL-2.0
/*
 * poison FILE: has a page of its own taken for broken, by writing its number to FILE, and reads what /proc/self/smaps and
 * /proc/self/pagemap say of the entry that is left in its page table.
 */
#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096UL
#define PFN_MASK ((1ULL << 55) - 1) /* Documentation/admin-guide/mm/pagemap.rst */

static uint64_t pagemap(const char *page)
{
	int file = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entry;

	if (file < 0 || pread(file, &entry, sizeof(entry), (uintptr_t)page / PAGE * sizeof(entry)) != sizeof(entry))
		err(1, "pagemap");
	close(file);
	return entry;
}

int main(int argc, char **argv)
{
	char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	static char lines[1 << 16];
	FILE *inject;
	int smaps;

	if (page == MAP_FAILED || argc != 2)
		err(1, "mmap, or no FILE");
	inject = fopen(argv[1], "w");
	if (!inject || fprintf(inject, "%llu", (unsigned long long)(pagemap(page) & PFN_MASK)) < 0 || fclose(inject))
		err(1, "%s", argv[1]);
	smaps = open("/proc/self/smaps", O_RDONLY);
	while (smaps >= 0 && read(smaps, lines, sizeof(lines)) > 0)
		;
	pagemap(page);
	return 0;
}
