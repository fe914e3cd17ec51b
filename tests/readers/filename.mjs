// Reads Content-Disposition values, a JSON array on stdin, with content-disposition: the names as JSON.
// node filename.mjs FOLDER-OF-THE-PACKAGE < VALUES
import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

const { parse } = await import(pathToFileURL(process.argv[2] + '/dist/index.js'))
const values = JSON.parse(readFileSync(0, 'utf8'))
process.stdout.write(JSON.stringify(values.map((value) => parse(value).parameters.filename)))
