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

test('of many free ports no two are the same', async () => {
  const ports: number[] = []
  // Drawn by chance alone, two of so many nearly always are.
  for (let each = 0; each < 1000; each++) ports.push(await freePort())
  expect(new Set(ports).size).toBe(ports.length)
})
