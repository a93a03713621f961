/** Devices send to both servers of a pair, and one of them dies: each datagram is stored once. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createLab, type Lab } from './lab.ts'
import {
  compare,
  createDevices,
  createPair,
  type Devices,
  nothingAmiss,
  type Pair,
  type Source,
  settled,
  sources,
} from './pair-lab.ts'

let lab: Lab
let pair: Pair
let devices: Devices
beforeEach(async () => {
  lab = await createLab()
  pair = createPair(lab)
})
afterEach(async () => {
  await devices?.close()
  await lab.close()
})

const perSecond = 1500

async function bothUp() {
  const [a, b] = [await pair.start('a'), await pair.start('b')]
  devices = await createDevices([a.ports, b.ports])
  await a.active(1)
  await devices.templates()
  return { a, b }
}

function sum(sent: Record<Source, number>): number {
  return sources.reduce((total, source) => total + sent[source], 0)
}

test('the active is killed: what it had not stored comes out of the other’s ring', async () => {
  const { a, b } = await bothUp()
  devices.start(perSecond)
  await sleep(4000)
  await a.program.kill('SIGKILL')
  await sleep(1500)
  const ms = await b.active(2)
  await sleep(3000)
  await devices.stop()
  await settled([b])
  expect(compare(devices.sent, lab.stored('b'))).toEqual(nothingAmiss)

  const again = await pair.start('a')
  await settled([b, again])
  expect(compare(devices.sent, lab.stored('b'))).toEqual(nothingAmiss)
  expect(compare(devices.sent, lab.stored('a'))).toEqual(nothingAmiss)
  const { pair: reception } = await b.state()
  console.log(
    `${sum(devices.sent)} numbers, ${reception.replayed} datagrams replayed in ${reception.replayMs} ms, role taken on in ${ms.toFixed(1)} ms, disputed ${reception.disputed}`,
  )
}, 120_000)
