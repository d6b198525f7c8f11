// SPDX-License-Identifier: GPL-2.0
/*
 * A plugin for QEMU: counts the instructions that a guest executes in its kernel, for each 16 bytes of that, which is how
 * functions are aligned. out=FILE is an array of 64-bit counters for SIZE bytes from BASE on, where x86 links its kernel
 * to (Documentation/arch/x86/x86_64/mm.rst). It is mapped, so it is there however the guest ends.
 *
 * Debian's package of QEMU has no header for plugins. What is used here is version 1 of the interface.
 */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))
#define BASE 0xffffffff81000000UL
#define SIZE (64UL << 20)
#define INLINE_ADD_U64 0

struct qemu_plugin_tb;
struct qemu_plugin_insn;
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block, size_t number);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *instruction);
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, void (*translated)(uint64_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *instruction, int operation, void *counter,
						uint64_t by);

EXPORTED int qemu_plugin_version = 1;
static uint64_t *counters;

static void translated(uint64_t id, struct qemu_plugin_tb *block)
{
	size_t number, count = qemu_plugin_tb_n_insns(block);

	(void)id;
	for (number = 0; number < count; number++) {
		struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, number);
		uint64_t offset = qemu_plugin_insn_vaddr(instruction) - BASE;

		if (offset < SIZE)
			qemu_plugin_register_vcpu_insn_exec_inline(instruction, INLINE_ADD_U64, &counters[offset / 16], 1);
	}
}

EXPORTED int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv)
{
	const size_t bytes = SIZE / 16 * sizeof(*counters);
	int file;

	(void)info;
	if (argc != 1 || strncmp(argv[0], "out=", 4))
		return 1;
	file = open(argv[0] + 4, O_RDWR | O_CREAT | O_TRUNC, 0644);
	if (file < 0 || ftruncate(file, bytes))
		return 1;
	counters = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	close(file);
	if (counters == MAP_FAILED)
		return 1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
