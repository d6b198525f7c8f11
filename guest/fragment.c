// SPDX-License-Identifier: GPL-2.0
/*
 * fragment MIB: fills a file of a tmpfs, the current directory, with so many MiB and punches a hole for every second
 * page, so that no pageblock is free and each page that is left can be moved. Removing the file frees them.
 *
 * fragment MIB HUGE: then asks for so many huge pages, which takes compaction, and writes the CPU time in ns that this
 * took, which is instructions under "qemu -icount shift=0", and how many came. Transparent huge pages and their defrag
 * have to be set to "always".
 *
 * fragment all: has all memory compacted, and writes the CPU time.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL
#define HUGE (2UL << 20)
#define PUNCH (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)

static long long cpu_time(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static long huge_pages(void)
{
	char line[128];
	long kib = 0, sum = 0;
	FILE *smaps = fopen("/proc/self/smaps", "r");

	while (fgets(line, sizeof(line), smaps))
		if (sscanf(line, "AnonHugePages: %ld kB", &kib) == 1)
			sum += kib;
	fclose(smaps);
	return sum * 1024 / HUGE;
}

static void get_huge_pages(size_t count)
{
	char *memory = mmap(NULL, (count + 1) * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long long before = cpu_time();
	size_t at;

	if (memory == MAP_FAILED)
		err(1, "mmap");
	memory = (char *)(((uintptr_t)memory + HUGE - 1) & -HUGE);
	for (at = 0; at < count; at++)
		memory[at * HUGE] = 1;
	printf("%lld", cpu_time() - before);
	printf(" %ld\n", huge_pages());
}

static void compact_all(void)
{
	int file = open("/proc/sys/vm/compact_memory", O_WRONLY);
	long long before = cpu_time();

	if (write(file, "1", 1) != 1)
		err(1, "compact_memory");
	printf("%lld\n", cpu_time() - before);
}

static void make_holes(size_t size)
{
	static const char page[PAGE] = { 1 };
	int file = open("holes", O_RDWR | O_CREAT | O_TRUNC, 0600);
	size_t at;

	for (at = 0; at < size; at += PAGE)
		if (pwrite(file, page, PAGE, at) != PAGE)
			err(1, "write");
	for (at = 0; at < size; at += 2 * PAGE)
		if (fallocate(file, PUNCH, at, PAGE))
			err(1, "punch");
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return 1;
	if (!strcmp(argv[1], "all")) {
		compact_all();
		return 0;
	}
	make_holes(strtoul(argv[1], NULL, 0) << 20);
	if (argc > 2)
		get_huge_pages(strtoul(argv[2], NULL, 0));
	return 0;
}
