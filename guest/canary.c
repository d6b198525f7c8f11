// SPDX-License-Identifier: GPL-2.0
/*
 * canary MIB: fills so many MiB of its memory with what only the page itself can tell: each 8 bytes
 * hold their own physical address, times an odd number. Writes the addresses of the pages to its
 * output, one a line, and stays, so that they keep what is in them.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096UL
#define FACTOR 0x9e3779b97f4a7c15ULL /* vmtest/canary.py has it as well */

static uint64_t physical(int pagemap, const void *page)
{
	uint64_t entry = 0;

	/* Documentation/admin-guide/mm/pagemap.rst: bits 0 to 54 are the page frame number. */
	if (pread(pagemap, &entry, sizeof(entry), (uintptr_t)page / PAGE * sizeof(entry)) != sizeof(entry))
		return 0;
	return (entry & ((1ULL << 55) - 1)) * PAGE;
}

int main(int argc, char **argv)
{
	size_t size = argc > 1 ? strtoul(argv[1], NULL, 0) << 20 : 0, offset, word;
	int pagemap = open("/proc/self/pagemap", O_RDONLY);
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (pagemap < 0 || memory == MAP_FAILED || mlock(memory, size))
		return 1;
	for (offset = 0; offset < size; offset += PAGE) {
		uint64_t *page = (uint64_t *)(memory + offset);
		uint64_t address = physical(pagemap, page);

		if (!address)
			return 1;
		for (word = 0; word < PAGE / sizeof(*page); word++)
			page[word] = (address + word * sizeof(*page)) * FACTOR;
		printf("%llx\n", (unsigned long long)address);
	}
	fclose(stdout);
	pause();
	return 0;
}
