import { expect, test } from 'vitest'
import { readInterfaces, type Walker } from './read.ts'

const ifEntry = '1.3.6.1.2.1.2.2.1'
const ifXEntry = '1.3.6.1.2.1.31.1.1.1'

function agent(objects: Record<string, string | number>): Walker {
  return {
    async walk(oid) {
      return Object.entries(objects)
        .filter(([name]) => name.startsWith(`${oid}.`))
        .map(([name, value]) => [name.slice(oid.length + 1), value])
    },
  }
}

test('an interface has its short name, its alias and its speed', async () => {
  const walker = agent({
    [`${ifEntry}.2.7`]: 'GigabitEthernet0/0/7',
    [`${ifEntry}.5.7`]: 1_000_000_000,
    [`${ifXEntry}.1.7`]: 'Gi0/0/7',
    [`${ifXEntry}.15.7`]: 1000,
    [`${ifXEntry}.18.7`]: 'to Berlin\u0000',
    [`${ifEntry}.2.2`]: 'lo',
    [`${ifEntry}.5.2`]: 4_294_967_295,
    [`${ifXEntry}.15.3`]: 400_000,
  })
  expect(await readInterfaces(walker)).toEqual([
    { index: 2, name: 'lo', alias: '', speed: 0 },
    { index: 3, name: '', alias: '', speed: 400_000_000_000 },
    { index: 7, name: 'Gi0/0/7', alias: 'to Berlin', speed: 1_000_000_000 },
  ])
})

test('an agent without ifXTable is read too, and what is no ifIndex is left out', async () => {
  const walker = agent({
    [`${ifEntry}.2.1`]: 'Ethernet1',
    [`${ifEntry}.5.1`]: 10_000_000,
    [`${ifEntry}.2.0`]: 'x',
    [`${ifEntry}.2.1.2`]: 'x',
  })
  expect(await readInterfaces(walker)).toEqual([
    { index: 1, name: 'Ethernet1', alias: '', speed: 10_000_000 },
  ])
})
