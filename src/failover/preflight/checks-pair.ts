/** Prerequisites that concern both servers together. Pure. */
import { obstacleBetween } from '../../lib/version.ts'
import type { Facts, ServerFacts } from './facts.ts'
import { failure, type Outcome, pass, skipped, warning, worst } from './finding.ts'
import { bits, bytes, isLoopback, list, milliseconds, sameAddress } from './words.ts'

const clockWarningMs = 1000
const clockFailureMs = 60_000
const roundTripWarningMs = 20
const roundTripFailureMs = 200
const bandwidthWarning = 100e6
const bandwidthFailure = 10e6
const databaseWarningMs = 50
const databaseFailureMs = 500
/** Of the larger; below the first it is said, below the second it is too little. */
const alike = 0.8
const tooUnlike = 0.5

function needsOther({ otherError }: Facts): Outcome {
  return skipped(
    otherError ?? 'there is no second server yet',
    otherError ? 'start the other server, and see that its link can be reached from here' : null,
  )
}

export function versionCheck(facts: Facts): Outcome {
  const { own, other } = facts
  if (!other) return needsOther(facts)
  if (own.version === other.version) return pass(`both have ${own.version}`)
  const said = `${own.server} has ${own.version}, ${other.server} has ${other.version}`
  const obstacle = obstacleBetween(own.version, other.version)
  return obstacle === undefined
    ? warning(said, 'install the newer version on both: see upgrade')
    : failure(`${said}: ${obstacle}`, 'install the same version on both')
}

export function portAndProtocolCheck(facts: Facts): Outcome {
  const { own, other, connection } = facts
  if (!other) return needsOther(facts)
  const at = ({ console: { protocol, port } }: ServerFacts) => `${protocol} on port ${port}`
  if (at(own) === at(other)) return pass(`both consoles are ${at(own)}`)
  const said = `${own.server} has its console at ${at(own)}, ${other.server} at ${at(other)}`
  return connection.type === 'none'
    ? warning(said, 'give console.port and console.tls the same values on both')
    : failure(
        said,
        'give console.port and console.tls the same values on both: people and programs come to the same address before and after a takeover',
      )
}

export function clockCheck({ own, other, link }: Facts): Outcome {
  const outcomes: Outcome[] = []
  if (other && link) {
    outcomes.push(
      clockOutcome(`${other.server} and ${own.server}`, link.clockAheadMs, link.clockUncertaintyMs),
    )
  }
  for (const server of [own, ...(other ? [other] : [])]) {
    const { clockAheadMs: ahead = null, clockUncertaintyMs: exact = null } = server.database ?? {}
    if (ahead === null || exact === null) continue
    outcomes.push(clockOutcome(`${server.server} and the database`, ahead, exact))
  }
  if (outcomes.length === 0) return skipped('there is nobody to compare the clock with yet')
  return worst(outcomes)
}

function clockOutcome(who: string, aheadMs: number, uncertaintyMs: number): Outcome {
  const apart = Math.max(0, Math.abs(aheadMs) - uncertaintyMs)
  const said = `the clocks of ${who} are ${milliseconds(Math.abs(aheadMs))} apart`
  const repair = 'let chrony or systemd-timesyncd set the clocks of all of them'
  if (apart <= clockWarningMs) return pass(said)
  // Takeovers compare no clocks; certificates and times in the logs do.
  return apart <= clockFailureMs ? warning(said, repair) : failure(said, repair)
}

export function timeZoneCheck(facts: Facts): Outcome {
  const { own, other } = facts
  if (!other) return needsOther(facts)
  if (own.timeZone === other.timeZone) return pass(`both are in ${own.timeZone}`)
  const said = `${own.server} is in ${own.timeZone}, ${other.server} in ${other.timeZone}`
  return own.utcOffsetMinutes === other.utcOffsetMinutes
    ? warning(`${said}, which have the same time today`, `timedatectl set-timezone ${own.timeZone}`)
    : warning(
        `${said}: schedules would run at other hours after a takeover`,
        `timedatectl set-timezone ${own.timeZone}`,
      )
}

export function hardwareCheck(facts: Facts): Outcome {
  const { own, other } = facts
  if (!other) return needsOther(facts)
  const compare = (what: string, a: number, b: number, words: (value: number) => string) => {
    const share = Math.min(a, b) / Math.max(a, b)
    const said = `${what}: ${own.server} ${words(a)}, ${other.server} ${words(b)}`
    const repair = `give ${a < b ? own.server : other.server} as much: it has to do the whole work alone`
    if (share >= alike) return pass(said)
    return share >= tooUnlike ? warning(said, repair) : failure(said, repair)
  }
  return worst([
    compare('cores', own.cores, other.cores, String),
    compare('memory', own.memoryBytes, other.memoryBytes, bytes),
    ...(own.disk && other.disk
      ? [compare('disk', own.disk.totalBytes, other.disk.totalBytes, bytes)]
      : []),
  ])
}

export function resolveCheck(facts: Facts): Outcome {
  const { own, other } = facts
  if (!other) return needsOther(facts)
  return worst([...resolves(own, other), ...resolves(other, own)])
}

/** What `asker` makes of the names and addresses of `asked`. */
function resolves(asker: ServerFacts, asked: ServerFacts): Outcome[] {
  const lookup = (name: string) => asker.lookups.find(one => one.asked === name)?.found
  const namesOf = (address: string) => asker.reverse.find(one => one.asked === address)?.found
  const has = (address: string) => asked.addresses.some(one => sameAddress(one.address, address))
  const outcomes: Outcome[] = []
  const forward = lookup(asked.advertise)
  if (forward === undefined) {
    return [skipped(`${asker.server} was not asked for the address of ${asked.advertise}`)]
  }
  const entry = `enter it into DNS, or into /etc/hosts of ${asker.server}`
  if (forward.length === 0) {
    outcomes.push(
      failure(
        `${asker.server} cannot resolve ${asked.advertise}, the address of ${asked.server}`,
        entry,
      ),
    )
  } else if (asked.addresses.length > 0 && !forward.some(has)) {
    outcomes.push(
      warning(
        `${asker.server} takes ${asked.advertise} for ${list(forward)}, which ${asked.server} does not have itself`,
        'that is right behind a NAT only; else correct DNS or /etc/hosts',
      ),
    )
  } else outcomes.push(pass(`${asker.server} resolves ${asked.advertise} to ${list(forward)}`))
  const byName = lookup(asked.hostname)
  if (asked.hostname !== asked.advertise && byName?.length === 0) {
    outcomes.push(
      warning(
        `${asker.server} cannot resolve ${asked.hostname}, the host name of ${asked.server}`,
        entry,
      ),
    )
  }
  for (const address of forward) {
    if (namesOf(address)?.length !== 0) continue
    outcomes.push(
      warning(
        `${asker.server} finds no name for ${address} of ${asked.server}`,
        `${entry}, backwards too`,
      ),
    )
  }
  return outcomes
}

export function latencyCheck(facts: Facts): Outcome {
  const { own, other, link } = facts
  if (!other || !link || link.roundTripsMs.length === 0) return needsOther(facts)
  const sorted = link.roundTripsMs.toSorted((a, b) => a - b)
  const median = sorted[Math.floor(sorted.length / 2)]!
  const said = `a round trip from ${own.server} to ${other.server} takes ${milliseconds(median)}, at most ${milliseconds(sorted.at(-1)!)}`
  if (median <= roundTripWarningMs) return pass(said)
  const repair =
    'place the servers nearer to each other, or lengthen failover.leaseMs on both so that a slow answer is not taken for none'
  return median <= roundTripFailureMs ? warning(said, repair) : failure(said, repair)
}

export function bandwidthCheck(facts: Facts): Outcome {
  const { own, other, link } = facts
  if (!other || !link) return needsOther(facts)
  const { bitsPerSecond } = link
  if (bitsPerSecond === null) {
    return failure(
      `a few megabytes did not get from ${other.server} to ${own.server} in time`,
      'look at the connection between the servers',
    )
  }
  const said = `${bits(bitsPerSecond)} from ${other.server} to ${own.server}`
  if (bitsPerSecond >= bandwidthWarning) return pass(said)
  const repair =
    'connect the servers with 100 Mbit/s at least: files and missed telemetry go that way'
  return bitsPerSecond >= bandwidthFailure ? warning(said, repair) : failure(said, repair)
}

export function databaseCheck({ own, other }: Facts): Outcome {
  const outcomes = [own, ...(other ? [other] : [])].map(server => {
    const { database } = server
    if (!database) return skipped(`${server.server} has none yet, or one of its own`)
    const { error, readOnly, roundTripMs } = database
    if (error !== null) {
      return failure(
        `${server.server} does not reach it: ${error}`,
        'look at database.url, at pg_hba.conf and at the firewall',
      )
    }
    if (readOnly) {
      return failure(
        `${server.server} finds it read-only: it is a replica`,
        'name the writable host in database.url, or all of its hosts',
      )
    }
    if (roundTripMs === null) return skipped(`${server.server} could not measure it`)
    const said = `${server.server} has an answer after ${milliseconds(roundTripMs)}`
    if (roundTripMs <= databaseWarningMs) return pass(said)
    const repair = 'bring database and servers nearer to each other: the lease is renewed there'
    return roundTripMs <= databaseFailureMs ? warning(said, repair) : failure(said, repair)
  })
  const [one, two] = [own.database?.identity, other?.database?.identity]
  if (one && two && one !== two) {
    outcomes.push(
      failure('the servers have two different databases', 'give both the same database.url'),
    )
  }
  return worst(outcomes)
}

export function databaseElsewhereCheck({ own, other }: Facts): Outcome {
  const outcomes = [own, ...(other ? [other] : [])].map(server => {
    const { database } = server
    if (!database || database.addresses.length === 0) {
      return skipped(`${server.server} does not know where the database is`)
    }
    const near = database.addresses.filter(
      address =>
        isLoopback(address) || server.addresses.some(own => sameAddress(own.address, address)),
    )
    return near.length === 0
      ? pass(`it is at ${list(database.addresses)}`)
      : failure(
          `it is on ${server.server} itself (${list(near)}): when that machine fails, so does the pair`,
          'move the database to a machine of its own, and change database.url on both servers',
        )
  })
  return worst(outcomes)
}

export function domainCheck(facts: Facts): Outcome {
  const { own, other } = facts
  const folderHost = own.folderHost ?? other?.folderHost ?? null
  const named: [who: string, domain: string | null][] = [
    [own.server, own.domain],
    ...(other ? [[other.server, other.domain] as [string, string | null]] : []),
  ]
  const folderDomain = folderHost === null ? null : domainOf(folderHost)
  if (folderHost !== null && folderDomain !== null) named.push([folderHost, folderDomain])
  const domains = new Set(named.map(([, domain]) => domain))
  if (!other && named.length === 1) return needsOther(facts)
  const said = named.map(([who, domain]) => `${who}: ${domain ?? 'none'}`).join(', ')
  if (domains.size === 1) return pass(`the domain is the same: ${named[0]![1] ?? 'none'}`)
  return warning(
    said,
    'put the servers and the host of the shared folder into the same domain, or make sure that rights on the folder hold for both',
  )
}

/** Null for an address or a bare name. */
export function domainOf(host: string): string | null {
  if (host.includes(':') || /^[\d.]+$/.test(host)) return null
  const dot = host.indexOf('.')
  return dot < 0
    ? null
    : host
        .slice(dot + 1)
        .toLowerCase()
        .replace(/\.$/, '')
}
