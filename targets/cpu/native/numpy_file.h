/* Arrays in NumPy's format: "NEP 1: A Simple File Format for NumPy Arrays", versions 1.0 to 3.0. */
#ifndef OPWEAVE_NUMPY_FILE_H
#define OPWEAVE_NUMPY_FILE_H

#include <stdint.h>

#include "runtime.h"

enum { OW_NPY_HEADER_ROOM = 1024 };

int ow_is_npy(const unsigned char *bytes, uint64_t size);

/* A tensor in new memory (free its data), in row-major order and this machine's byte order. *used
 * is where the array ends. Types that NumPy does not know have the type of the element size given
 * by wanted. what names the file in messages. */
int32_t ow_read_npy(const unsigned char *bytes, uint64_t size, int32_t wanted, const char *what,
                    struct ow_value *value, uint64_t *used, struct ow_message *message);

/* The header of a .npy file; its length. */
uint64_t ow_npy_header(char *header, const struct ow_value *value);

/* New aligned memory; NULL when there is none. */
void *ow_new_data(uint64_t bytes);

#endif
