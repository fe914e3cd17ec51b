/* Cells of XLSX sheets. unspool/formats/xlsx_rows.py says what becomes of each value. */
#ifndef UNSPOOL_XLSX_H
#define UNSPOOL_XLSX_H

#include "arrow.h"
#include "text.h"

/* The bytes that need a look in the text of a cell. NULL with MemoryError. */
Escapes *xlsx_escapes(void);

/* Escapes the text that was written from offset `from` on, as UTF-8. 0, or -1 with MemoryError. */
int xlsx_escape(Buffer *out, const Escapes *escapes, Py_ssize_t from);

/* Where cells go: the number of the next row, and the letters of each column. */
#define LETTERS 4
#define DIGITS 24

typedef struct {
    long long number;
    char digits[DIGITS]; /* of the row being written; copied whole, as letters are */
    Py_ssize_t digits_size;
    char (*letters)[LETTERS]; /* the last byte is how many; to be freed by PyMem_Free */
} Places;

/* Begins with row `number`, an int; 0, or -1 with an exception. */
int places_begin(Places *places, PyObject *number, Py_ssize_t width);

/* Writes the start of a row, and goes on to the next. */
int places_begin_row(Places *places, Buffer *out);

/* Room for a cell without its text: its place, style and type, a number, and the end. */
#define XLSX_CELL_BYTES 192

/* The start of a cell in the row that was begun. */
static inline char *
put_place(const Places *places, char *at, Py_ssize_t position)
{
    at = PUT(at, "<c r=\"");
    memcpy(at, places->letters[position], LETTERS);
    at += places->letters[position][LETTERS - 1];
    memcpy(at, places->digits, DIGITS);
    at += places->digits_size;
    *at++ = '"';
    return at;
}

/* What XML readers may drop from the edges of a text. */
static inline int
xlsx_is_space(Py_UCS4 c)
{
    return c == ' ' || c == '\t' || c == '\n';
}

/* Whether a double holds a Decimal of this str() with all digits: at most 15, and an exponent
 * from -306 to 307. */
int xlsx_is_double(const char *text);

/* A batch of Arrow columns as rows of a sheet: bytes; None where the rows must be looked at. */
PyObject *xlsx_columns(const ArrowBatch *batch, const Escapes *escapes, Places *places);

/* How a value is written: behind the place of its cell come style and type. */
#define XLSX_NUMBER "><v>"
#define XLSX_DATE " s=\"2\"><v>"
#define XLSX_DATETIME " s=\"3\"><v>"
#define XLSX_TIME " s=\"4\"><v>"
#define XLSX_DURATION " s=\"5\"><v>"
#define XLSX_BOOL " t=\"b\"><v>"
#define XLSX_END "</v></c>"
#define XLSX_TEXT " t=\"inlineStr\"><is><t>"
#define XLSX_SPACED " t=\"inlineStr\"><is><t xml:space=\"preserve\">"
#define XLSX_TEXT_END "</t></is></c>"

/* Excel computes with 15 digits; longer numbers are written as text. */
#define XLSX_MOST_INT 999999999999999

/* Texts of more characters may have too many UTF-16 units: Python counts them. */
#define XLSX_SURE_CHARACTERS 16383

/* Days between 0001-01-01, which is 1, and day 0 of a sheet, 1899-12-30; and the first day that
 * all readers take alike, 1900-03-01. */
#define XLSX_EPOCH_DAY 693594
#define XLSX_FIRST_DAY 61

#define DAY_MS 86400000

/* Days since 0001-01-01, which is 1: Python's toordinal(). */
int xlsx_ordinal(int year, int month, int day);

#endif
