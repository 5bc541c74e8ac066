/* Where the parameters are: embedded, in a file, or copied to large pages. */
#ifndef OPWEAVE_WEIGHTS_H
#define OPWEAVE_WEIGHTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "memory.h"
#include "runtime.h"

struct ow_weights {
    _Atomic int64_t *addresses;   /* of all parameters: mapped, or copied */
    const unsigned char *start;   /* the first byte, mapped */
    void *mapping;                /* of the file; NULL: embedded */
    uint64_t mapping_bytes;
    struct ow_block copy;
    atomic_int runs;              /* so far, until the copy is begun */
    int is_copied;                /* a thread copies, or did */
    pthread_t copier;
    int is_read;                  /* a thread reads ahead, or did */
    atomic_int is_read_enough;    /* it may stop */
    pthread_t reader;
};

/* An enum ow_status; opens a file of weights where the description names one. */
int32_t ow_open_weights(struct ow_weights *weights, const char *path, int stay,
                        struct ow_message *message);

/* Called after each run: after the second one another thread copies weights to large pages. */
void ow_note_run(struct ow_weights *weights);

/* Waits for the copy if one is being made. */
void ow_wait_for_copy(struct ow_weights *weights);

/* In the child of a fork, whose parent has the threads that read ahead and copy. */
void ow_forget_helpers(struct ow_weights *weights);

void ow_close_weights(struct ow_weights *weights);

#endif
