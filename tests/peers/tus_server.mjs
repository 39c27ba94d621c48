// @tus/server with its file store, on a free port of loopback: node tus_server.mjs FOLDER. Prints its URL.
import { createServer } from 'node:http'
import { FileStore } from '@tus/file-store'
import { Server } from '@tus/server'

const tus = new Server({ path: '/files', datastore: new FileStore({ directory: process.argv[2] }) })
const server = createServer(tus.handle.bind(tus))
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}/files`))
