#include "inflate.h"

#include <string.h>

enum { MOST_BITS = 15, LITERALS = 288, DISTANCES = 32, LENGTH_CODES = 19, END = 256 };

struct stream {
    const unsigned char *source;
    uint64_t source_size, taken;
    unsigned char *target;
    uint64_t size, written;
    uint32_t bits;              /* not yet used, the next one lowest */
    int bit_count;
    int is_bad;
};

/* Codes by length, as canonical Huffman codes are defined. */
struct codes {
    uint16_t counts[MOST_BITS + 1];
    uint16_t symbols[LITERALS];
};

static uint32_t take_bits(struct stream *stream, int count)
{
    uint32_t found;

    while (stream->bit_count < count) {
        if (stream->taken == stream->source_size) {
            stream->is_bad = 1;
            return 0;
        }
        stream->bits |= (uint32_t)stream->source[stream->taken++] << stream->bit_count;
        stream->bit_count += 8;
    }
    found = stream->bits & ((1u << count) - 1);
    stream->bits >>= count;
    stream->bit_count -= count;
    return found;
}

static void make_codes(struct codes *codes, const unsigned char *lengths, int count)
{
    uint16_t places[MOST_BITS + 1];
    int number;

    memset(codes, 0, sizeof *codes);
    for (number = 0; number < count; number++)
        codes->counts[lengths[number]]++;
    codes->counts[0] = 0;
    places[0] = 0;
    for (number = 1; number <= MOST_BITS; number++)
        places[number] = (uint16_t)(places[number - 1] + codes->counts[number - 1]);
    for (number = 0; number < count; number++)
        if (lengths[number] != 0)
            codes->symbols[places[lengths[number]]++] = (uint16_t)number;
}

static int take_symbol(struct stream *stream, const struct codes *codes)
{
    int length, code = 0, first = 0, place = 0;

    for (length = 1; length <= MOST_BITS; length++) {
        code |= (int)take_bits(stream, 1);
        if (stream->is_bad)
            return END;
        if (code - first < codes->counts[length])
            return codes->symbols[place + code - first];
        place += codes->counts[length];
        first = (first + codes->counts[length]) << 1;
        code <<= 1;
    }
    stream->is_bad = 1;
    return END;
}

static void copy_block(struct stream *stream)
{
    uint32_t count, complement;

    stream->bits = 0;
    stream->bit_count = 0;
    if (stream->source_size - stream->taken < 4) {
        stream->is_bad = 1;
        return;
    }
    count = (uint32_t)(stream->source[stream->taken] | stream->source[stream->taken + 1] << 8);
    complement = (uint32_t)(stream->source[stream->taken + 2] |
                            stream->source[stream->taken + 3] << 8);
    stream->taken += 4;
    if ((count ^ complement) != 0xffff || count > stream->source_size - stream->taken ||
        count > stream->size - stream->written) {
        stream->is_bad = 1;
        return;
    }
    memcpy(stream->target + stream->written, stream->source + stream->taken, count);
    stream->taken += count;
    stream->written += count;
}

static void copy_back(struct stream *stream, uint64_t length, uint64_t distance)
{
    if (distance > stream->written || length > stream->size - stream->written) {
        stream->is_bad = 1;
        return;
    }
    while (length-- > 0) { /* byte by byte: source and target may overlap */
        stream->target[stream->written] = stream->target[stream->written - distance];
        stream->written++;
    }
}

static void decode_block(struct stream *stream, const struct codes *literals,
                         const struct codes *distances)
{
    static const uint16_t lengths[] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19, 23, 27,
                                       31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
    static const uint8_t length_bits[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                          2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
    static const uint16_t starts[] = {1,   2,   3,   4,   5,   7,    9,    13,   17,   25,
                                      33,  49,  65,  97,  129, 193,  257,  385,  513,  769,
                                      1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
    int symbol;
    uint64_t length;

    while (!stream->is_bad && (symbol = take_symbol(stream, literals)) != END) {
        if (symbol < END) {
            if (stream->written == stream->size)
                stream->is_bad = 1;
            else
                stream->target[stream->written++] = (unsigned char)symbol;
            continue;
        }
        symbol -= END + 1;
        if (symbol >= (int)(sizeof length_bits)) {
            stream->is_bad = 1;
            return;
        }
        length = lengths[symbol] + take_bits(stream, length_bits[symbol]);
        symbol = take_symbol(stream, distances);
        if (stream->is_bad || symbol >= 30) {
            stream->is_bad = 1;
            return;
        }
        copy_back(stream, length,
                  starts[symbol] + take_bits(stream, symbol < 2 ? 0 : symbol / 2 - 1));
    }
}

static void decode_fixed(struct stream *stream)
{
    unsigned char lengths[LITERALS];
    struct codes literals, distances;

    memset(lengths, 8, 144);
    memset(lengths + 144, 9, 112);
    memset(lengths + 256, 7, 24);
    memset(lengths + 280, 8, 8);
    make_codes(&literals, lengths, LITERALS);
    memset(lengths, 5, DISTANCES);
    make_codes(&distances, lengths, DISTANCES);
    decode_block(stream, &literals, &distances);
}

static void decode_dynamic(struct stream *stream)
{
    static const unsigned char order[LENGTH_CODES] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                                      11, 4,  12, 3, 13, 2, 14, 1, 15};
    unsigned char lengths[LITERALS + DISTANCES];
    struct codes codes, distances;
    int literal_count = (int)take_bits(stream, 5) + 257, distance_count, code_count, number, symbol;
    int repeated, value;

    distance_count = (int)take_bits(stream, 5) + 1;
    code_count = (int)take_bits(stream, 4) + 4;
    memset(lengths, 0, sizeof lengths);
    for (number = 0; number < code_count; number++)
        lengths[order[number]] = (unsigned char)take_bits(stream, 3);
    make_codes(&codes, lengths, LENGTH_CODES);
    memset(lengths, 0, sizeof lengths);
    for (number = 0; number < literal_count + distance_count && !stream->is_bad;) {
        symbol = take_symbol(stream, &codes);
        value = 0;
        if (symbol < 16) {
            lengths[number++] = (unsigned char)symbol;
            continue;
        }
        if (symbol == 16) {
            if (number == 0) {
                stream->is_bad = 1;
                return;
            }
            value = lengths[number - 1];
            repeated = 3 + (int)take_bits(stream, 2);
        } else if (symbol == 17)
            repeated = 3 + (int)take_bits(stream, 3);
        else
            repeated = 11 + (int)take_bits(stream, 7);
        if (number + repeated > literal_count + distance_count) {
            stream->is_bad = 1;
            return;
        }
        memset(lengths + number, value, (size_t)repeated);
        number += repeated;
    }
    if (stream->is_bad || literal_count > LITERALS || distance_count > DISTANCES) {
        stream->is_bad = 1;
        return;
    }
    make_codes(&codes, lengths, literal_count);
    make_codes(&distances, lengths + literal_count, distance_count);
    decode_block(stream, &codes, &distances);
}

int ow_inflate(const unsigned char *source, uint64_t source_size, unsigned char *target,
               uint64_t size)
{
    struct stream stream = {source, source_size, 0, target, size, 0, 0, 0, 0};
    uint32_t is_last = 0, kind;

    while (!is_last && !stream.is_bad) {
        is_last = take_bits(&stream, 1);
        kind = take_bits(&stream, 2);
        if (kind == 0)
            copy_block(&stream);
        else if (kind == 1)
            decode_fixed(&stream);
        else if (kind == 2)
            decode_dynamic(&stream);
        else
            stream.is_bad = 1;
    }
    return !stream.is_bad && stream.written == size;
}
