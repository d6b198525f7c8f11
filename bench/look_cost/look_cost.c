// SPDX-License-Identifier: GPL-2.0
/*
 * What it costs to have memory removal wait for those who look at memory maps, by ways to do so: a look with nothing in
 * it, and a wait. "look" or "wait" written to /sys/module/look_cost/parameters/measure measures, and writes lines like
 * "look_cost: look NAME PICOSECONDS" to the log: the average of many. Under "qemu -icount shift=0" a nanosecond is one
 * instruction. The module cannot be unloaded: what it waits for may call back later.
 */
#include <linux/atomic.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/percpu-rwsem.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/srcu.h>
#include <linux/string.h>

#define LOOKS	100000
#define WAITS	200

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

static int set_measure(const char *what, const struct kernel_param *param)
{
	if (sysfs_streq(what, "look")) {
		int index;

		measure("look", "nothing", LOOKS, );
		measure("look", "RCU", LOOKS, rcu_read_lock(); barrier(); rcu_read_unlock());
		measure("look", "SRCU", LOOKS, index = srcu_read_lock(&srcu); srcu_read_unlock(&srcu, index));
		/* What get_online_mems() and put_online_mems() are. */
		measure("look", "percpu_rw_semaphore", LOOKS, percpu_down_read(&rwsem); percpu_up_read(&rwsem));
		measure("look", "counter", LOOKS, atomic_inc(&counter); smp_mb(); atomic_dec(&counter));
	} else {
		measure("wait", "RCU", WAITS, synchronize_rcu_expedited());
		measure("wait", "RCU, not expedited", WAITS / 10, synchronize_rcu());
		measure("wait", "SRCU", WAITS, synchronize_srcu_expedited(&srcu));
		measure("wait", "percpu_rw_semaphore", WAITS, percpu_down_write(&rwsem); percpu_up_write(&rwsem));
	}
	return 0;
}

static const struct kernel_param_ops measure_ops = { .set = set_measure };
module_param_cb(measure, &measure_ops, NULL, 0200);

static int __init look_cost_init(void)
{
	return 0;
}

module_init(look_cost_init);
MODULE_DESCRIPTION("What looks at memory maps cost");
MODULE_LICENSE("GPL");
