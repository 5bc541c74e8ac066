/* What an instance keeps between runs. */
#ifndef OPWEAVE_INSTANCE_H
#define OPWEAVE_INSTANCE_H

#include <pthread.h>
#include <stdatomic.h>

#include "memory.h"
#include "pool.h"
#include "runtime.h"
#include "weights.h"

/* What the generated code is given for one run, and memory for intermediate tensors. */
struct ow_frame {
    struct ow_frame *next;
    int64_t *context;           /* OW_CONTEXT_FIELDS, then a pointer for each input and output */
    int64_t *cells;             /* addresses of the first elements of inputs and outputs */
    int64_t *symbols;
    int64_t failure[2];
    int64_t *given;             /* extents of all inputs */
    int64_t *sizes;             /* bytes of the arena, extents of all outputs */
    struct ow_block arena;
};

struct ow_model {
    pthread_mutex_t lock;       /* of the list */
    struct ow_frame *idle;
    struct ow_weights weights;
    struct ow_pool pool;
    uint64_t memory_limit;
    atomic_long process;        /* whose threads and lock these are */
};

/* To be called before anything of an instance is used: makes it whole after a fork. */
void ow_enter(struct ow_model *model);

/* A frame for one run, to be given back; NULL when there is no memory. */
struct ow_frame *ow_take_frame(struct ow_model *model);
void ow_give_back_frame(struct ow_model *model, struct ow_frame *frame);

#endif
