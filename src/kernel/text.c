#include "text.h"

void
special_init(Special *special, const char *bytes, unsigned below)
{
    memset(special->is, 0, sizeof special->is);
    memset(special->is, 1, below);
    for (const char *p = bytes; *p; p++) {
        special->is[(unsigned char)*p] = 1;
    }
#ifdef TEXT_SSE2
    size_t count = strlen(bytes);
    for (size_t i = 0; i < SPECIAL_BYTES; i++) {
        special->each[i] = _mm_set1_epi8(bytes[i < count ? i : 0]);
    }
    special->any_below = below > 0;
    special->last_below = _mm_set1_epi8((char)(below - 1));
#endif
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
    for (Py_ssize_t i = 0; i < length; i++) {
        at = put_code_point(at, text[i]);
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
