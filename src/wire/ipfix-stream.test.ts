import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createIpfixFramer } from './ipfix-stream.ts'

function message(length: number, fill: number): Uint8Array {
  const bytes = new Uint8Array(length).fill(fill)
  bytes.set([0, 10, length >> 8, length & 0xff])
  return bytes
}

test('messages come out whole, however the stream is cut', () => {
  const lengths = fc.array(fc.integer({ min: 16, max: 3000 }), { minLength: 1, maxLength: 12 })
  const cuts = fc.array(fc.integer({ min: 1, max: 4000 }), { minLength: 1, maxLength: 40 })
  fc.assert(
    fc.property(lengths, cuts, (sizes, pieces) => {
      const messages = sizes.map((size, index) => message(size, index))
      const stream = Buffer.concat(messages)
      const came: Uint8Array[] = []
      const framer = createIpfixFramer(bytes => came.push(Uint8Array.from(bytes)))
      for (let at = 0, piece = 0; at < stream.length; piece++) {
        const end = at + pieces[piece % pieces.length]!
        expect(framer.push(stream.subarray(at, end))).toBe(true)
        at = end
      }
      expect(came).toEqual(messages)
      expect(framer.begun).toBe(false)
    }),
  )
})

test('a message that has not come whole is not given', () => {
  let came = 0
  const framer = createIpfixFramer(() => came++)
  framer.push(message(100, 1).subarray(0, 99))
  expect([came, framer.begun]).toEqual([0, true])
  framer.push(Uint8Array.of(1))
  expect([came, framer.begun]).toEqual([1, false])
})

test.each([
  ['another version', [0, 9, 0, 20]],
  ['a length that has no room for its header', [0, 10, 0, 15]],
  ['text', [...Buffer.from('GET / HTTP/1.1')]],
])('%s is no IPFIX, and nothing after it', (_what, bytes) => {
  const came: number[] = []
  const framer = createIpfixFramer(given => came.push(given.length))
  expect(framer.push(Buffer.concat([message(20, 1), Uint8Array.from(bytes)]))).toBe(false)
  expect(framer.push(message(30, 2))).toBe(false)
  expect(came).toEqual([20])
})

test('whatever comes, no more is kept than a message and a chunk', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 200 })), chunks => {
      const framer = createIpfixFramer(bytes => {
        expect(bytes.length).toBeGreaterThanOrEqual(16)
      })
      for (const chunk of chunks) framer.push(chunk)
    }),
  )
})
