/* The bytes being written: one bytes object that grows, handed out without a copy. */
#ifndef UNSPOOL_BUFFER_H
#define UNSPOOL_BUFFER_H

#include "kernel.h"

/* There is always room for so many bytes more than was asked for, so that short texts can be
 * written in whole machine words of 16 bytes, and up to 8 marks between two of them unasked. */
#define BUFFER_SLACK 32

typedef struct {
    PyObject *bytes;
    char *start; /* of the bytes */
    char *at;    /* where the next byte goes */
    char *limit; /* where the slack begins */
    PyThreadState *unlocked; /* of a thread that let go of the interpreter, or NULL */
} Buffer;

/* What a batch of rows begins with: room for a short row or two. */
#define BUFFER_FIRST_BYTES 480

/* Begins with room for `size` bytes; 0, or -1 with MemoryError. */
int buffer_begin(Buffer *out, Py_ssize_t size);

/* After the first of `rows` rows: makes room for as many as it, if that is not too much. The
 * rows of most batches fill a chunk and are about as long, so that nothing moves then. */
int buffer_expect(Buffer *out, Py_ssize_t rows);

/* Makes room for `size` more bytes, moving what is there; 0, or -1 with MemoryError. */
int buffer_grow(Buffer *out, Py_ssize_t size);

/* The bytes written, as a new reference; NULL with MemoryError. The buffer is gone then. */
PyObject *buffer_finish(Buffer *out);

/* Drops the buffer. */
void buffer_drop(Buffer *out);

/* Lets other threads run Python until `buffer_lock`. The buffer may be written to meanwhile:
 * when it grows, it takes the interpreter for that moment. */
static inline void
buffer_unlock(Buffer *out)
{
    out->unlocked = PyEval_SaveThread();
}

static inline void
buffer_lock(Buffer *out)
{
    PyEval_RestoreThread(out->unlocked);
    out->unlocked = NULL;
}

/* Makes sure that `size` bytes fit; 0, or -1 with MemoryError. Pointers into the buffer are
 * void afterwards: keep offsets. */
static inline int
buffer_reserve(Buffer *out, Py_ssize_t size)
{
    return out->limit - out->at >= size ? 0 : buffer_grow(out, size);
}

static inline int
buffer_write(Buffer *out, const char *data, Py_ssize_t size)
{
    if (buffer_reserve(out, size) < 0) {
        return -1;
    }
    memcpy(out->at, data, (size_t)size);
    out->at += size;
    return 0;
}

static inline char *
put_bytes(char *at, const char *bytes, size_t size)
{
    memcpy(at, bytes, size);
    return at + size;
}

/* A constant text where room was reserved before. */
#define PUT(at, literal) put_bytes((at), (literal), sizeof(literal) - 1)

#endif
