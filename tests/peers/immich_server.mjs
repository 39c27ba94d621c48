// A stand-in for an Immich server, as far as `immich upload` talks to it: node immich_server.mjs FOLDER PORT. What is in
// FOLDER at the start is known by its SHA-1, as a real server would know it; uploads are synced and renamed into it.
// Prints its URL.
import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream, fsyncSync, mkdirSync, openSync, closeSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'

const [folder, port] = process.argv.slice(2)
const parts = `${folder}.parts`
mkdirSync(parts, { recursive: true })
const known = new Map()
for (const name of readdirSync(folder)) {
  const hash = createHash('sha1')
  for await (const piece of createReadStream(join(folder, name))) hash.update(piece)
  known.set(hash.digest('hex'), name)
}

const answer = (response, body, status = 200) => {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify(body))
}

async function text(request) {
  const pieces = []
  for await (const piece of request) pieces.push(piece)
  return Buffer.concat(pieces)
}

// One multipart body; only the field with the file's bytes matters. Bodies are small enough here to be held.
async function take(request, response) {
  const boundary = Buffer.from(`--${/boundary=(.+)$/.exec(request.headers['content-type'])[1]}`)
  const body = await text(request)
  let at = 0
  for (;;) {
    const start = body.indexOf(boundary, at)
    const head = body.indexOf('\r\n\r\n', start)
    const end = body.indexOf(boundary, head)
    if (start < 0 || head < 0 || end < 0) return answer(response, { message: 'no file' }, 400)
    const headers = body.subarray(start, head).toString()
    const name = /name="assetData"; filename="([^"]+)"/.exec(headers)
    if (!name) {
      at = end
      continue
    }
    const bytes = body.subarray(head + 4, end - 2)
    const checksum = createHash('sha1').update(bytes).digest('hex')
    if (known.has(checksum)) return answer(response, { id: checksum, status: 'duplicate' })
    const part = join(parts, checksum)
    await new Promise((done) => createWriteStream(part).end(bytes, done))
    const file = openSync(part, 'r+')
    fsyncSync(file)
    closeSync(file)
    renameSync(part, join(folder, name[1]))
    rmSync(part, { force: true })
    known.set(checksum, name[1])
    return answer(response, { id: checksum, status: 'created' }, 201)
  }
}

const server = createServer(async (request, response) => {
  const path = request.url.replace(/^\/api/, '')
  if (path === '/.well-known/immich') return answer(response, { api: { endpoint: '/api' } })
  if (path === '/users/me') return answer(response, { id: 'me', email: 'me@example.org', name: 'me' })
  if (path === '/api-keys/me') return answer(response, { id: 'key', name: 'key', permissions: ['all'] })
  if (path === '/server/media-types') return answer(response, { image: ['.jpg', '.jpeg'], video: [], sidecar: ['.xmp'] })
  if (path === '/assets/bulk-upload-check') {
    const { assets } = JSON.parse(await text(request))
    const result = ({ id, checksum }) =>
      known.has(checksum) ? { id, action: 'reject', reason: 'duplicate', assetId: checksum } : { id, action: 'accept' }
    return answer(response, { results: assets.map(result) })
  }
  // A client that was killed ends its request in the middle.
  if (path === '/assets' && request.method === 'POST') return take(request, response).catch(() => response.destroy())
  return answer(response, { message: `what is ${request.method} ${path}?` }, 404)
})
server.listen(Number(port), '127.0.0.1', () => console.log(`http://127.0.0.1:${port}`))
