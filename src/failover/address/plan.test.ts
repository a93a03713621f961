import { describe, expect, test } from 'vitest'
import { alreadyThere, canonical, type Intention, type Link, plan } from './plan.ts'

function link(name: string, ...addresses: string[]): Link {
  return {
    ...{ name, loopback: name === 'lo', up: true, carrier: true, mac: '02:00:00:00:00:01' },
    addresses: addresses.map(one => {
      const [address, prefix] = one.replace('*', '').split('/')
      return { address: address!, prefix: Number(prefix), permanent: !one.endsWith('*') }
    }),
  }
}

const intention: Intention = {
  wanted: true,
  addresses: [
    { address: '192.0.2.10', prefix: 24 },
    { address: '2001:DB8:0::10', prefix: 64 },
  ],
  remembered: ['192.0.2.10', '2001:db8::10'],
  own: [],
  interface: undefined,
}
const passive = { ...intention, wanted: false }
const ethernet = ['192.0.2.1/24', '2001:db8::1/64', 'fe80::1/64'] as const

describe('an active server', () => {
  test('adds what is missing on the interface of its network', () => {
    const { add, change, faults } = plan(intention, [
      link('lo', '127.0.0.1/8'),
      link('eth0', '198.51.100.1/24'),
      link('eth1', ...ethernet),
    ])
    expect(add).toEqual([
      { do: 'add', address: '192.0.2.10', prefix: 24, link: 'eth1' },
      { do: 'add', address: '2001:db8::10', prefix: 64, link: 'eth1' },
    ])
    expect(change).toEqual([])
    expect(faults.size).toBe(0)
  })

  test('prefers the narrower of two networks', () => {
    const links = [link('eth0', '192.0.0.1/16'), link('eth1', '192.0.2.1/24')]
    expect(plan(intention, links).add[0]?.link).toBe('eth1')
  })

  test('says which interfaces there are when none fits, or the chosen one is missing', () => {
    const links = [link('lo', '127.0.0.1/8'), link('eth0', '198.51.100.1/24'), link('eth1')]
    expect(plan(intention, links).faults.get('192.0.2.10')).toBe(
      'no interface is in the network of 192.0.2.10: there are eth0 (198.51.100.1/24), ' +
        'eth1 (without an address); name one as failover.interface',
    )
    expect(plan({ ...intention, interface: 'eth7' }, links).faults.get('192.0.2.10')).toBe(
      'there is no interface eth7: there are eth0 (198.51.100.1/24), eth1 (without an address)',
    )
    expect(plan({ ...intention, interface: 'eth1' }, links).add).toHaveLength(2)
  })

  test('changes a prefix of IPv4 by adding before deleting, of IPv6 by the opposite', () => {
    const { change } = plan(intention, [
      link('eth0', ...ethernet, '192.0.2.10/25*', '2001:db8::10/80*'),
    ])
    expect(change.map(one => `${one.do} ${one.address}/${one.prefix}`)).toEqual([
      'add 192.0.2.10/24',
      'delete 192.0.2.10/25',
      'delete 2001:db8::10/80',
      'add 2001:db8::10/64',
    ])
  })

  test('removes an address that is on two interfaces from the wrong one', () => {
    const links = [link('eth0', ...ethernet, '192.0.2.10/24*'), link('eth1', '192.0.2.10/24*')]
    const { held, change } = plan(intention, links)
    expect(held.map(one => one.link)).toEqual(['eth0'])
    expect(change).toEqual([{ do: 'delete', address: '192.0.2.10', prefix: 24, link: 'eth1' }])
  })

  test('removes an address that is no longer configured', () => {
    const [first] = intention.addresses
    const { change, held } = plan({ ...intention, addresses: [first!] }, [
      link('eth0', ...ethernet, '192.0.2.10/24*', '2001:db8::10/64*'),
    ])
    expect(held).toHaveLength(1)
    expect(change).toEqual([{ do: 'delete', address: '2001:db8::10', prefix: 64, link: 'eth0' }])
  })

  test('does not take an address that it has for itself', () => {
    const links = [link('eth0', ...ethernet)]
    const addresses = [{ address: '192.0.2.1', prefix: 24 }]
    const { add, change, faults } = plan({ ...intention, addresses, own: ['192.0.2.1'] }, links)
    expect([...add, ...change]).toEqual([])
    expect(faults.get('192.0.2.1')).toContain('an address that this server has for itself')
  })

  test('says that an interface is down or has no cable', () => {
    const links = [{ ...link('eth0', ...ethernet), up: false }]
    expect(plan(intention, links).faults.get('192.0.2.10')).toBe('the interface eth0 is down')
    const cut = [{ ...link('eth0', ...ethernet), carrier: false }]
    expect(plan(intention, cut).faults.get('192.0.2.10')).toContain('no carrier')
  })
})

describe('a passive server', () => {
  test('deletes the addresses wherever they are, with whatever prefix', () => {
    const links = [
      link('eth0', ...ethernet, '192.0.2.10/25*'),
      link('eth1', '192.0.2.10/32', '198.51.100.1/24', '2001:db8::10/128*'),
    ]
    expect(
      plan(passive, links).change.map(one => `${one.do} ${one.address}/${one.prefix} ${one.link}`),
    ).toEqual([
      'delete 192.0.2.10/25 eth0',
      'delete 192.0.2.10/32 eth1',
      'delete 2001:db8::10/128 eth1',
    ])
  })

  test('deletes what was removed from the settings meanwhile', () => {
    const links = [link('eth0', ...ethernet, '192.0.2.77/24*')]
    const { change } = plan({ ...passive, addresses: [], remembered: ['192.0.2.77'] }, links)
    expect(change).toHaveLength(1)
  })

  test('leaves the only address of an interface, which it never added itself', () => {
    const addresses = [{ address: '192.0.2.1', prefix: 24 }]
    const { change, faults } = plan({ ...passive, addresses, remembered: [] }, [
      link('eth0', ...ethernet),
    ])
    expect(change).toEqual([])
    expect(faults.get('192.0.2.1')).toContain('the only address that this server has on eth0')
  })

  test('deletes what it once added, also if it is counted among its own by now', () => {
    const links = [link('eth0', ...ethernet, '192.0.2.10/24*')]
    const { change } = plan({ ...passive, addresses: [], own: ['192.0.2.1', '192.0.2.10'] }, links)
    expect(change.map(one => one.address)).toEqual(['192.0.2.10'])
  })
})

test('an address that is there for good, and was never added, is not for moving', () => {
  const links = [link('eth0', ...ethernet, '192.0.2.10/24', '2001:db8::10/64*')]
  expect(alreadyThere({ ...intention, remembered: [] }, links)).toEqual(['192.0.2.10'])
  expect(alreadyThere(intention, links)).toEqual([])
})

test('an address has one spelling', () => {
  expect(canonical('2001:DB8:0:0::00AA')).toBe('2001:db8::aa')
  expect(canonical('192.0.2.1')).toBe('192.0.2.1')
})
