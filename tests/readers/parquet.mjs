// Reads a Parquet file with hyparquet: rows as JSON on stdout.
// node parquet.mjs FOLDER-OF-THE-PACKAGE FILE
import { pathToFileURL } from 'node:url'

const [folder, file] = process.argv.slice(2)
const { asyncBufferFromFile, parquetReadObjects } = await import(pathToFileURL(folder + '/src/node.js'))
const rows = await parquetReadObjects({ file: await asyncBufferFromFile(file) })
const plain = (key, value) =>
  typeof value === 'bigint' ? Number(value) : value instanceof Uint8Array ? [...value] : value
process.stdout.write(JSON.stringify(rows, plain))
