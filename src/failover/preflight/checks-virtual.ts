/** The address at which the network is to find the active server. Pure. */
import type { Facts } from './facts.ts'
import { failure, type Outcome, pass, skipped, warning, worst } from './finding.ts'
import { inNetwork, list, sameAddress } from './words.ts'

export function virtualAddressCheck({ own, other, connection }: Facts): Outcome {
  const servers = [own, ...(other ? [other] : [])]
  if (connection.type === 'none') return skipped('there is none: the connection type is none')
  if (connection.type === 'virtual-name') {
    const { name } = connection
    const clashing = servers.filter(one => one.hostname === name || one.advertise === name)
    if (clashing.length > 0) {
      return failure(
        `${name} is the name of ${clashing[0]!.server} itself`,
        'choose a name of its own: it follows the active server',
      )
    }
    return pass(`${name} is nobody's own name`)
  }
  return worst(
    connection.addresses.flatMap(virtual => {
      const { address, prefix } = virtual
      const holder = servers.find(one => one.addresses.some(a => sameAddress(a.address, address)))
      const outcomes = servers.map((server): Outcome => {
        if (server.addresses.every(({ loopback }) => loopback)) {
          return skipped(`${server.server} does not show its addresses`)
        }
        // The prefix of the interface says what the network is, not that of the virtual address.
        const at = server.addresses.find(
          one => !one.loopback && !sameAddress(one.address, address) && inNetwork(address, one),
        )
        if (at === undefined) {
          return failure(
            `${address} lies in no network of ${server.server}`,
            `choose an address of a network that both servers are in: ${list(server.addresses.flatMap(one => (one.loopback ? [] : [`${one.address}/${one.prefix}`])))}`,
          )
        }
        return at.prefix === prefix
          ? pass(`${address}/${prefix} fits ${at.interface} of ${server.server}`)
          : warning(
              `${address} has the prefix ${prefix}, and ${at.interface} of ${server.server} has ${at.prefix}`,
              `keepwatch failover set --virtual-ip ${address}/${at.prefix}`,
            )
      })
      if (holder) outcomes.push(pass(`${holder.server} has ${address}`))
      else outcomes.push(unanswered(address, servers))
      return outcomes
    }),
  )
}

function unanswered(address: string, servers: Facts['own'][]): Outcome {
  const asked = servers.flatMap(({ server, probes }) =>
    probes
      .filter(probe => sameAddress(probe.address, address))
      .map(probe => ({ ...probe, server })),
  )
  const answered = asked.find(({ answers }) => answers === true)
  if (answered) {
    return failure(
      `somebody answers at ${address} already, says ${answered.server}`,
      'choose an address that nobody has, and keep it out of the range of the DHCP server',
    )
  }
  return asked.some(({ answers }) => answers === false)
    ? pass(`nobody answers at ${address}`)
    : skipped(
        `whether somebody has ${address} already could not be asked`,
        'install ping (Debian package iputils-ping)',
      )
}
