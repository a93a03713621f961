/** A server's end of the link as a process: `receiver-process.ts <store file> <port> <identity folder>`. */
import { createReceiver } from '../../src/collect/receive.ts'
import { loadZstd } from '../../src/collect/zstd.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { createLog } from '../../src/lib/log.ts'
import { createMetrics } from '../../src/lib/metrics.ts'
import { readIdentity } from '../../src/lib/tls.ts'
import { createFolderStore } from './folder-store.ts'

const [file, port, identityFolder] = process.argv.slice(2)
const receiver = createReceiver(
  {
    zstd: loadZstd(),
    store: createFolderStore(file!),
    identity: readIdentity(identityFolder!, 'server'),
    log: createLog({ level: 'warn', part: 'receiver' }),
    metrics: createMetrics({}),
    clock: systemClock,
    linkState: () => ({}),
  },
  { host: '127.0.0.1', port: Number(port) },
)
await receiver.start()
console.log(JSON.stringify({ port: receiver.port }))
process.on('SIGTERM', () => receiver.stop())
