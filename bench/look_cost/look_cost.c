// SPDX-License-Identifier: GPL-2.0
/*
 * What it costs to have memory removal wait for those who look at memory maps, by ways to do so: a look with nothing in
 * it, and a wait. Loading the module measures and writes "look NAME ps" and "wait NAME ns" to the log: the average of
 * many, in time, which is instructions under "qemu -icount shift=0" (1 ns is one instruction) for the looks.
 */
#include <linux/atomic.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/percpu-rwsem.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/srcu.h>

#define LOOKS	100000
#define WAITS	200

static bool looks = true, waits = true;
module_param(looks, bool, 0444);
module_param(waits, bool, 0444);

DEFINE_STATIC_SRCU(srcu);
DEFINE_STATIC_PERCPU_RWSEM(rwsem);
static atomic_t counter;

#define measure(what, name, count, statement) do {				\
	u64 start = ktime_get_ns();						\
	int i;									\
										\
	for (i = 0; i < (count); i++) {						\
		statement;							\
		barrier();							\
	}									\
	pr_info("look_cost: " what " " name " %llu\n",				\
		(ktime_get_ns() - start) * 1000 / (count));			\
	cond_resched();								\
} while (0)

static int __init look_cost_init(void)
{
	if (looks) {
		int index;

		measure("look", "nothing", LOOKS, );
		measure("look", "RCU", LOOKS, rcu_read_lock(); barrier(); rcu_read_unlock());
		measure("look", "SRCU", LOOKS, index = srcu_read_lock(&srcu); srcu_read_unlock(&srcu, index));
		/* What get_online_mems() and put_online_mems() are. */
		measure("look", "percpu_rw_semaphore", LOOKS, percpu_down_read(&rwsem); percpu_up_read(&rwsem));
		measure("look", "counter", LOOKS, atomic_inc(&counter); smp_mb(); atomic_dec(&counter));
	}
	if (waits) {
		measure("wait", "RCU", WAITS, synchronize_rcu_expedited());
		measure("wait", "RCU, not expedited", WAITS / 10, synchronize_rcu());
		measure("wait", "SRCU", WAITS, synchronize_srcu_expedited(&srcu));
		measure("wait", "percpu_rw_semaphore", WAITS, percpu_down_write(&rwsem); percpu_up_write(&rwsem));
	}
	/* Nothing stays behind. */
	return -EAGAIN;
}

module_init(look_cost_init);
MODULE_DESCRIPTION("What looks at memory maps cost");
MODULE_LICENSE("GPL");
