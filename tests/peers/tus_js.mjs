// Uploads files with tus-js-client, each until it is done whatever happens to the connection.
//   node tus_js.mjs URL TOKEN JOBS FILE…
// TOKEN may be empty. Prints one JSON object: files, retries, resumes (a PATCH from inside the file,
// at the offset that the server had just told), seconds.
import { createReadStream, statSync } from 'node:fs'
import { basename } from 'node:path'
import * as tus from 'tus-js-client'

const [endpoint, token, jobs, ...files] = process.argv.slice(2)
const headers = token ? { Authorization: `Bearer ${token}` } : {}
let retries = 0
let resumes = 0

function upload(file) {
  return new Promise((resolve, reject) => {
    let told = 0
    const one = new tus.Upload(createReadStream(file), {
      endpoint,
      headers,
      uploadSize: statSync(file).size,
      metadata: { filename: basename(file), filetype: 'image/jpeg' },
      retryDelays: Array(200).fill(10),
      onShouldRetry: () => {
        retries += 1
        return true
      },
      onAfterResponse: (request, response) => {
        if (request.getMethod() === 'HEAD') told = Number(response.getHeader('Upload-Offset'))
      },
      onBeforeRequest: (request) => {
        if (request.getMethod() !== 'PATCH') return
        if (told > 0 && Number(request.getHeader('Upload-Offset')) === told) resumes += 1
        told = 0
      },
      onError: reject,
      onSuccess: resolve,
    })
    one.start()
  })
}

const began = process.hrtime.bigint()
const waiting = [...files]
const worker = async () => {
  while (waiting.length > 0) await upload(waiting.shift())
}
await Promise.all(Array.from({ length: Number(jobs) }, worker))
const seconds = Number(process.hrtime.bigint() - began) / 1e9
console.log(JSON.stringify({ files: files.length, retries, resumes, seconds }))
