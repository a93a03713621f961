/** Prerequisites of each server by itself. Pure. */
import { ofEach } from './checks-resources.ts'
import type { Facts } from './facts.ts'
import { failure, type Outcome, pass, skipped, warning, worst } from './finding.ts'
import { isLoopback, list, sameAddress } from './words.ts'

const dayMs = 86_400_000
const expiresSoonDays = 30

export function staticAddressCheck(facts: Facts): Outcome {
  const virtual =
    facts.connection.type === 'virtual-ip'
      ? facts.connection.addresses.map(({ address }) => address)
      : []
  return ofEach(facts, server => {
    const known = server.lookups.find(({ asked }) => asked === server.advertise)?.found ?? []
    const reached = server.addresses.filter(
      ({ address, loopback }) => !loopback && !virtual.some(one => sameAddress(one, address)),
    )
    // Under the address that the other uses; if that cannot be told, any.
    const used = reached.filter(({ address }) =>
      [server.advertise, ...known].some(one => sameAddress(one, address)),
    )
    const judged = used.length > 0 ? used : reached
    if (judged.length === 0) return skipped(`${server.server} does not show its addresses`)
    const leased = judged.filter(({ dynamic }) => dynamic === true)
    if (leased.length > 0) {
      return warning(
        `${server.server} has ${list(leased.map(({ address }) => address))} by a lease that may end`,
        'set the address by hand, or reserve it at the DHCP server for good',
      )
    }
    if (judged.some(({ dynamic }) => dynamic === null)) {
      return skipped(
        `whether the addresses of ${server.server} are leased cannot be seen`,
        'install ip (Debian package iproute2)',
      )
    }
    return pass(`${server.server} has ${list(judged.map(({ address }) => address))}`)
  })
}

export function toolsCheck(facts: Facts): Outcome {
  const { connection } = facts
  return ofEach(facts, ({ server, tools, netAdmin }) => {
    const outcomes: Outcome[] = tools.map(({ program, package: from, present }) =>
      present
        ? pass(`${server} has ${program}`)
        : failure(`${server} has no ${program}`, `apt-get install ${from}`),
    )
    if (connection.type === 'virtual-ip') {
      outcomes.push(
        netAdmin
          ? pass(`${server} may set addresses`)
          : failure(
              `${server} may not set addresses`,
              'run it as root or give it CAP_NET_ADMIN: the unit of `keepwatch init --systemd` does',
            ),
      )
    }
    return outcomes.length === 0 ? pass(`${server} needs none`) : worst(outcomes)
  })
}

export function portsCheck(facts: Facts): Outcome {
  return ofEach(facts, ({ server, ports }) => {
    if (ports.length === 0) return skipped(`${server} has no ports yet`)
    const taken = ports.filter(({ state }) => state === 'taken')
    if (taken.length === 0) {
      return pass(`${server}: ${list(ports.map(({ name, port }) => `${name} ${port}`))}`)
    }
    return failure(
      `${server} cannot open ${list(taken.map(({ name, port }) => `${port} (${name})`))}`,
      'end what has the port (ss -ltnp shows it), set another one, or give the right to open ports below 1024',
    )
  })
}

/** The collector inside does not start without its ports, nor the server without that. */
export function receptionCheck(facts: Facts): Outcome {
  return ofEach(facts, ({ server, reception }) => {
    if (reception.length === 0) return skipped(`${server} has no collector inside`)
    const taken = reception.filter(({ state }) => state === 'taken')
    if (taken.length === 0) {
      return pass(`${server}: ${list(reception.map(({ name, port }) => `${name} ${port}`))}`)
    }
    const [{ name }] = taken as [(typeof taken)[number]]
    return failure(
      `${server} cannot open ${list(taken.map(({ name, port }) => `${port} (${name})`))}`,
      `end what has the port (ss -lunp and ss -ltnp show it), or set collect.listen.${name} in ${server}’s settings to another one, or to false`,
    )
  })
}

export function certificateCheck(facts: Facts): Outcome {
  const { connection, now } = facts
  const shared =
    connection.type === 'virtual-name'
      ? [connection.name]
      : connection.type === 'virtual-ip'
        ? connection.addresses.map(({ address }) => address)
        : []
  return ofEach(facts, ({ server, certificate, console: { protocol }, advertise }) => {
    if (certificate === null) {
      if (protocol === 'http' && isLoopback(advertise)) {
        return skipped(`${server} has none: its console is for this machine only`)
      }
      return warning(
        `${server} serves its console without TLS`,
        'name a key and a certificate under console.tls',
      )
    }
    const left = Math.floor((certificate.expires - now) / dayMs)
    if (left < 0) {
      return failure(
        `that of ${server} ended ${-left} days ago`,
        'replace it and restart the server',
      )
    }
    const missing = [advertise, ...shared].filter(host => !certificate.speaksFor.includes(host))
    if (missing.length > 0) {
      return failure(
        `that of ${server} is not for ${list(missing)}, only for ${list(certificate.hosts)}`,
        `use one with ${list(missing)} in it; browsers refuse this one there`,
      )
    }
    return left < expiresSoonDays
      ? warning(`that of ${server} ends in ${left} days`, 'replace it before')
      : pass(`that of ${server} is for ${list([advertise, ...shared])} and good for ${left} days`)
  })
}
