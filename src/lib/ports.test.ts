import { once } from 'node:events'
import { createServer } from 'node:net'
import { expect, test } from 'vitest'
import { freePort, isFree } from './ports.ts'

test('a free port can be opened, and is none that the kernel gives to outgoing connections', async () => {
  const port = await freePort()
  expect(port).toBeLessThan(32_768)
  const server = createServer().listen(port, '127.0.0.1')
  await once(server, 'listening')
  expect(await isFree(port, 'tcp')).toBe(false)
  expect(await isFree(port, 'udp')).toBe(true)
  await new Promise(resolve => server.close(resolve))
  expect(await isFree(port, 'tcp')).toBe(true)
})
