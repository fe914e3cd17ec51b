#include "text.h"

void
special_init(Special *special, const char *bytes, size_t count, unsigned below)
{
    memset(special->is, 0, sizeof special->is);
    memset(special->is, 1, below);
    for (size_t i = 0; i < count; i++) {
        special->is[(unsigned char)bytes[i]] = 1;
    }
    for (size_t i = 0; i < SPECIAL_BYTES; i++) {
        memset(special->each[i], bytes[i < count ? i : 0], 16);
    }
    special->any_below = below > 0;
    memset(special->last_below, (int)below - 1, 16);
}

Escapes *
escapes_new(const char *bytes, size_t count, unsigned below)
{
    Escapes *escapes = PyMem_Calloc(1, sizeof(Escapes));
    if (escapes == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    special_init(&escapes->special, bytes, count, below);
    return escapes;
}

void
escapes_add(Escapes *escapes, unsigned char byte, const char *text)
{
    size_t size = strlen(text);
    escapes->size[byte] = (unsigned char)size;
    memcpy(escapes->text[byte], text, size);
}

/* How many bytes more the escaped text has; -1 if there is one that cannot be written. */
static Py_ssize_t
growth(const Escapes *escapes, const char *from, const char *end)
{
    Py_ssize_t more = 0;
    for (; from < end; from++) {
        unsigned char c = (unsigned char)*from;
        if (escapes->special.is[c]) {
            if (escapes->size[c] == 0) {
                return -1;
            }
            more += escapes->size[c] - 1;
        }
    }
    return more;
}

/* From the end backwards, where the text moves over itself. */
int
text_escape(Buffer *out, const Escapes *escapes, Py_ssize_t from)
{
    const char *first = find_special(&escapes->special, out->start + from, out->at);
    if (first == out->at) {
        return 0;
    }
    Py_ssize_t kept = first - out->start;
    Py_ssize_t more = growth(escapes, first, out->at);
    if (more < 0 || buffer_reserve(out, more) < 0) {
        return -1;
    }
    char *start = out->start + kept;
    const char *read = out->at;
    char *write = out->at + more;
    out->at = write;
    while (read > start) {
        unsigned char c = (unsigned char)*--read;
        int size = escapes->size[c];
        if (size) {
            write -= size;
            memcpy(write, escapes->text[c], (size_t)size);
        }
        else {
            *--write = (char)c;
        }
    }
    return 0;
}

int
text_write_utf8_escaped(Buffer *out, const Escapes *escapes, const char *text, Py_ssize_t size)
{
    if (buffer_reserve(out, size) < 0) {
        return -1;
    }
    Py_ssize_t start = out->at - out->start;
    int found = copy_and_find(&escapes->special, out->at, text, size);
    out->at += size;
    return found ? text_escape(out, escapes, start) : 0;
}

int
text_write_escaped(Buffer *out, const Escapes *escapes, PyObject *text)
{
    if (text_ready(text) < 0) {
        return -1;
    }
    if (PyUnicode_IS_COMPACT_ASCII(text)) {
        return text_write_utf8_escaped(out, escapes, (const char *)PyUnicode_1BYTE_DATA(text),
                                       PyUnicode_GET_LENGTH(text));
    }
    Py_ssize_t start = out->at - out->start;
    return text_write_wide(out, text) < 0 ? -1 : text_escape(out, escapes, start);
}

static inline char *
put_code_point(char *at, Py_UCS4 c)
{
    if (c < 0x80) {
        *at++ = (char)c;
    }
    else if (c < 0x800) {
        *at++ = (char)(0xC0 | c >> 6);
        *at++ = (char)(0x80 | (c & 0x3F));
    }
    else if (c < 0x10000) {
        *at++ = (char)(0xE0 | c >> 12);
        *at++ = (char)(0x80 | (c >> 6 & 0x3F));
        *at++ = (char)(0x80 | (c & 0x3F));
    }
    else {
        *at++ = (char)(0xF0 | c >> 18);
        *at++ = (char)(0x80 | (c >> 12 & 0x3F));
        *at++ = (char)(0x80 | (c >> 6 & 0x3F));
        *at++ = (char)(0x80 | (c & 0x3F));
    }
    return at;
}

static char *
put_latin1(char *at, const Py_UCS1 *text, Py_ssize_t length)
{
    /* Without a branch for each: the second byte is written always, and counted if it stands. */
    for (Py_ssize_t i = 0; i < length; i++) {
        unsigned c = text[i], wide = c >> 7;
        at[0] = (char)(wide ? 0xC0 | c >> 6 : c);
        at[1] = (char)(0x80 | (c & 0x3F));
        at += 1 + wide;
    }
    return at;
}

static char *
put_ucs2(char *at, const Py_UCS2 *text, Py_ssize_t length)
{
    for (Py_ssize_t i = 0; i < length; i++) {
        if (text[i] >> 11 == 0xD800 >> 11) {
            return NULL;
        }
        at = put_code_point(at, text[i]);
    }
    return at;
}

static char *
put_ucs4(char *at, const Py_UCS4 *text, Py_ssize_t length)
{
    for (Py_ssize_t i = 0; i < length; i++) {
        if (text[i] >> 11 == 0xD800 >> 11) {
            return NULL;
        }
        at = put_code_point(at, text[i]);
    }
    return at;
}

/* Not by PyUnicode_AsUTF8, which leaves its copy in the text: rows would grow in memory. */
int
text_write_wide(Buffer *out, PyObject *text)
{
    Py_ssize_t length = PyUnicode_GET_LENGTH(text);
    int kind = (int)PyUnicode_KIND(text);
    /* At most 2, 3 or 4 bytes for a character; a length in memory times four is no overflow. */
    Py_ssize_t most = kind == PyUnicode_1BYTE_KIND ? 2 : kind == PyUnicode_2BYTE_KIND ? 3 : 4;
    if (buffer_reserve(out, most * length) < 0) {
        return -1;
    }
    char *end = kind == PyUnicode_1BYTE_KIND   ? put_latin1(out->at, PyUnicode_1BYTE_DATA(text), length)
                : kind == PyUnicode_2BYTE_KIND ? put_ucs2(out->at, PyUnicode_2BYTE_DATA(text), length)
                                               : put_ucs4(out->at, PyUnicode_4BYTE_DATA(text), length);
    if (end == NULL) {
        return -1;
    }
    out->at = end;
    return 0;
}

int
text_write(Buffer *out, PyObject *text)
{
    if (text_ready(text) < 0) {
        return -1;
    }
    if (!PyUnicode_IS_COMPACT_ASCII(text)) {
        return text_write_wide(out, text);
    }
    return buffer_write(out, (const char *)PyUnicode_1BYTE_DATA(text), PyUnicode_GET_LENGTH(text));
}
