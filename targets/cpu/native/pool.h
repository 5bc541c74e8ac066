/* Worker threads of one model; see OW_POOL_THREADS in description.h. */
#ifndef OPWEAVE_POOL_H
#define OPWEAVE_POOL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

struct ow_pool {
    int32_t threads;
    int64_t *fields;            /* what the workers and a run share; NULL until first needed */
    pthread_t *workers;
    int32_t worker_count;
    atomic_flag is_taken;
};

void ow_open_pool(struct ow_pool *pool, int32_t threads);

/* The fields for one run, or NULL: run on the caller's thread alone. To be given back. */
int64_t *ow_take_pool(struct ow_pool *pool);
void ow_give_back_pool(struct ow_pool *pool);

/* In the child of a fork, whose parent has the workers. */
void ow_forget_workers(struct ow_pool *pool);

/* No run may be in progress. */
void ow_close_pool(struct ow_pool *pool);

/* A thread that gets no signals, with a stack for generated code; 0, or -1 when there is none. */
int ow_start_thread(pthread_t *thread, void *(*function)(void *), void *argument);

#endif
