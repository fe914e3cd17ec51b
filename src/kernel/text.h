/* Text into the buffer as UTF-8, and the search for the bytes that a format must treat. */
#ifndef UNSPOOL_TEXT_H
#define UNSPOOL_TEXT_H

#include "buffer.h"

#if defined(__SSE2__) || defined(_M_X64)
#define TEXT_SSE2 1
#include <emmintrin.h>
#endif

#define SPECIAL_BYTES 5

/* The ASCII bytes that a format must treat: up to five, and all below `below`. */
typedef struct {
    unsigned char is[256];
    unsigned char each[SPECIAL_BYTES][16];
    unsigned char last_below[16];
    int any_below;
} Special;

/* What each special byte becomes; a special byte without a text cannot be written. */
typedef struct Escapes {
    Special special;
    unsigned char size[256];
    char text[128][8];
} Escapes;

/* `bytes` are the special ones: one to five. */
void special_init(Special *special, const char *bytes, size_t count, unsigned below);

/* Nothing is escaped at first; NULL with MemoryError. To be freed by PyMem_Free. */
Escapes *escapes_new(const char *bytes, size_t count, unsigned below);

/* Each byte is escaped by its text, of at most 7 bytes. */
void escapes_add(Escapes *escapes, unsigned char byte, const char *text);

/* Replaces the special bytes in what was written from offset `from` on. 0, or -1, without an
 * exception for a byte that cannot be written. */
int text_escape(Buffer *out, const Escapes *escapes, Py_ssize_t from);

/* Text with its special bytes escaped, of Python or as UTF-8. 0, or -1, without an exception for
 * a lone surrogate. */
int text_write_escaped(Buffer *out, const Escapes *escapes, PyObject *text);
int text_write_utf8_escaped(Buffer *out, const Escapes *escapes, const char *text, Py_ssize_t size);

/* Text as it is. 0, or -1, without an exception for a lone surrogate. */
int text_write(Buffer *out, PyObject *text);

/* Encodes any text that is not ASCII; -1 without an exception for a lone surrogate. */
int text_write_wide(Buffer *out, PyObject *text);

/* Ready on every Python: some texts of Python 3.11 are made late. 0, or -1 with an exception. */
static inline int
text_ready(PyObject *text)
{
#if PY_VERSION_HEX < 0x030C0000
    return PyUnicode_READY(text);
#else
    (void)text;
    return 0;
#endif
}

#ifdef TEXT_SSE2
/* One bit for each special byte among sixteen. */
static inline unsigned
special_bits(const Special *special, __m128i bytes)
{
    __m128i found = _mm_setzero_si128();
    for (int i = 0; i < SPECIAL_BYTES; i++) {
        __m128i each = _mm_loadu_si128((const __m128i *)special->each[i]);
        found = _mm_or_si128(found, _mm_cmpeq_epi8(bytes, each));
    }
    if (special->any_below) {
        __m128i last_below = _mm_loadu_si128((const __m128i *)special->last_below);
        __m128i low = _mm_min_epu8(bytes, last_below);
        found = _mm_or_si128(found, _mm_cmpeq_epi8(bytes, low));
    }
    return (unsigned)_mm_movemask_epi8(found);
}
#endif

/* Copies `size` bytes and tells whether any is special. Room must be reserved; up to
 * BUFFER_SLACK bytes more may be written. */
static inline int
copy_and_find(const Special *special, char *to, const char *from, Py_ssize_t size)
{
#ifdef TEXT_SSE2
    /* Whole words that overlap, so that no byte is handled alone. */
    if (size >= 16) {
        unsigned found = 0;
        for (Py_ssize_t i = 0; i < size - 16; i += 16) {
            __m128i bytes = _mm_loadu_si128((const __m128i *)(from + i));
            _mm_storeu_si128((__m128i *)(to + i), bytes);
            found |= special_bits(special, bytes);
        }
        __m128i bytes = _mm_loadu_si128((const __m128i *)(from + size - 16));
        _mm_storeu_si128((__m128i *)(to + size - 16), bytes);
        return (found | special_bits(special, bytes)) != 0;
    }
    if (size >= 4) {
        uint64_t first = 0, last = 0;
        size_t word = size >= 8 ? 8 : 4;
        if (word == 8) {
            memcpy(&first, from, 8);
            memcpy(&last, from + size - 8, 8);
            memcpy(to, &first, 8);
            memcpy(to + size - 8, &last, 8);
        }
        else {
            uint32_t first_half, last_half;
            memcpy(&first_half, from, 4);
            memcpy(&last_half, from + size - 4, 4);
            memcpy(to, &first_half, 4);
            memcpy(to + size - 4, &last_half, 4);
            first = last = (uint64_t)first_half << 32 | last_half;
        }
        return special_bits(special, _mm_set_epi64x((long long)last, (long long)first)) != 0;
    }
#endif
    unsigned found = 0;
    for (Py_ssize_t i = 0; i < size; i++) {
        found |= special->is[(unsigned char)from[i]];
        to[i] = from[i];
    }
    return found != 0;
}

/* Copies within a buffer, sixteen bytes at a time: up to 15 more are read and written. */
static inline void
copy_words(char *to, const char *from, Py_ssize_t size)
{
    for (Py_ssize_t i = 0; i < size; i += 16) {
        char word[16];
        memcpy(word, from + i, 16);
        memcpy(to + i, word, 16);
    }
}

/* The first special byte within a buffer, or `end`; up to 15 bytes after `end` are read. */
static inline const char *
find_special(const Special *special, const char *from, const char *end)
{
#ifdef TEXT_SSE2
    for (; from < end; from += 16) {
        unsigned bits = special_bits(special, _mm_loadu_si128((const __m128i *)from));
        if (end - from < 16) {
            bits &= (1u << (end - from)) - 1;
        }
        if (bits) {
            break;
        }
    }
#endif
    while (from < end && !special->is[(unsigned char)*from]) {
        from++;
    }
    return from < end ? from : end;
}

#endif
