/* Worker threads of one model; see OW_POOL_THREADS in description.h. */
#ifndef OPWEAVE_POOL_H
#define OPWEAVE_POOL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

struct ow_pool {
    int32_t threads;
    int64_t *fields;            /* what the workers and a run share; NULL until first needed */
    pthread_t *workers;
    int32_t worker_count;
    pid_t process;              /* workers stay with the process that made them */
    atomic_flag is_taken;
};

void ow_open_pool(struct ow_pool *pool, int32_t threads);

/* The fields for one run, or NULL: run on the caller's thread alone. To be given back. */
int64_t *ow_take_pool(struct ow_pool *pool);
void ow_give_back_pool(struct ow_pool *pool);

/* No run may be in progress. */
void ow_close_pool(struct ow_pool *pool);

#endif
