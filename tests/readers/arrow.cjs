// Reads an Arrow IPC stream with apache-arrow: types and rows as JSON on stdout.
// node arrow.cjs FOLDER-OF-THE-PACKAGE FILE
const fs = require('node:fs')
const [folder, file] = process.argv.slice(2)
const { tableFromIPC } = require(folder)

const table = tableFromIPC(fs.readFileSync(file))
const plain = (key, value) =>
  typeof value === 'bigint' ? Number(value) : value instanceof Uint8Array ? [...value] : value
const names = table.schema.fields.map((field) => field.name)
const rows = [...table].map((row) => names.map((name) => row[name]))
process.stdout.write(
  JSON.stringify({ batches: table.batches.length, types: table.schema.fields.map((f) => String(f.type)), rows }, plain),
)
