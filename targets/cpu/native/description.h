/* What a compiled model says of itself: the contract between generated code and the runtime.
 *
 * The tables are generated as C (description_of in describe.py); the functions are machine code
 * from the same compilation. Extents are 64-bit; all strings are UTF-8.
 */
#ifndef OPWEAVE_DESCRIPTION_H
#define OPWEAVE_DESCRIPTION_H

#include <stdint.h>

/* Element types; the numbers are part of the library's interface. */
enum ow_type {
    OW_BOOL = 1, OW_INT8, OW_INT16, OW_INT32, OW_INT64,
    OW_UINT8, OW_UINT16, OW_UINT32, OW_UINT64,
    OW_FLOAT16, OW_BFLOAT16, OW_FLOAT32, OW_FLOAT64, OW_COMPLEX64, OW_COMPLEX128
};

struct ow_tensor {
    const char *name;
    int32_t type;               /* enum ow_type */
    int32_t rank;
    int32_t is_late;            /* an output whose shape only the run knows; the run allocates it */
    const int64_t *extents;     /* -1 where the extent is symbolic */
    const char *const *extent_texts; /* "3", "batch", "2*n + 1" */
};

/* What to report when a step of the program fails. */
struct ow_step {
    const char *node;
    const char *error;          /* what a kernel's own failure means; "" if it has none */
};

/* An extension of the instruction set that the code needs: a bit that cpuid gives. */
struct ow_feature {
    const char *name;
    uint32_t leaf, subleaf;
    int32_t word;               /* 0..3: eax, ebx, ecx, edx */
    int32_t bit;
};

struct ow_description {
    const char *name;           /* the model's, as the file's */
    const char *producer;       /* "opweave 0.1.0" */
    const char *target;         /* triple and processor */
    const char *information;    /* producer and target */
    int32_t input_count, output_count;
    const struct ow_tensor *inputs, *outputs;
    int64_t symbol_count;       /* entries of the table of symbols */
    int32_t check_count;        /* texts of what ow_prepare may find */
    const char *const *checks;
    int32_t step_count;
    const struct ow_step *steps;
    int32_t parameter_count;
    const int64_t *parameter_places; /* bytes from the start of the weights; multiples of 64 */
    int64_t weight_bytes;
    const unsigned char *weights;    /* aligned to 4096; NULL where they lie in a file */
    const char *weights_file;        /* its name, beside the library or program; NULL if embedded */
    uint64_t weights_check;          /* what the file's first 8 bytes must be; weights start at
                                        byte 4096 of it */
    int32_t feature_count;
    const struct ow_feature *features;
    int32_t is_shared;          /* some step may run on several threads */
};

extern const struct ow_description ow_description;

/* Fields of the context that ow_run gets, in units of eight bytes. Cells follow: for each input,
 * then each output, a pointer to the place that holds the address of its first element. The run
 * stores the address of a late output (made by aligned_alloc, given back by free) in that place;
 * two late outputs may be one allocation. */
enum {
    OW_PARAMETERS = 0,          /* pointer to the addresses of the parameters */
    OW_SYMBOLS = 1,             /* pointer to the table of symbols, which the run may write */
    OW_FAILURE = 2,             /* pointer to two int64: the step, the code */
    OW_MEMORY_LIMIT = 3,        /* bytes that one late allocation may have */
    OW_POOL = 4,                /* pointer to the pool of threads; 0: the caller's thread alone */
    OW_ARENA = 5,               /* memory for intermediate tensors, aligned to 64 */
    OW_CONTEXT_FIELDS = 6
};

/* Codes in OW_FAILURE; others are what a kernel returned. */
enum {
    OW_RAISED = -1,
    OW_OUT_OF_MEMORY = -2,
    OW_BAD_EXTENT = -3,
    OW_UNEQUAL_EXTENTS = -4
};

/* Fields of a pool, in units of eight bytes, aligned to 64 bytes, and more for each thread; all
 * but the number of threads start as zero. A worker thread calls ow_worker(pool) and comes back
 * after ow_stop(pool). One run at a time. */
enum { OW_POOL_THREADS = 21, OW_POOL_FIELDS = 48, OW_POOL_FIELDS_OF_A_THREAD = 8 };

/* 0, or 1 when the context's failure is set. */
int32_t ow_run(void *context);

/* Sets the symbols that follow from the inputs' extents (all inputs, one after the other), and
 * sizes: the bytes of the arena, then the extents of all outputs (-1 where late). 0, or 1 + the
 * number of the check that failed. */
int64_t ow_prepare(const int64_t *extents, int64_t *symbols, int64_t *sizes);

/* The extents of all outputs, late ones too, from the symbols after a run. */
void ow_output_extents(const int64_t *symbols, int64_t *extents);

void ow_worker(void *pool);
void ow_stop(void *pool);

#endif
