/** Another program's reading of flow datagrams: tshark, fed with a pcap file made here. */
import { execFile, spawnSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

/** The fields of one flow record by tshark's names, each with all its values. */
export type Flow = Record<string, string[]>

/** What tshark makes of one datagram. */
export interface Reading {
  flows: Flow[]
  /** The header's wall time and uptime in milliseconds, as far as the format has them. */
  exported: number | undefined
  uptime: number | undefined
}

interface Tree {
  [name: string]: string | string[] | Tree | Tree[]
}

const port = 2055

export function hasTshark(): boolean {
  return spawnSync('tshark', ['--version'], { stdio: 'ignore' }).status === 0
}

/** Reads datagrams in one run, each from its own source address. */
export async function readWithTshark(
  datagrams: readonly { address: string; bytes: Uint8Array }[],
): Promise<Reading[]> {
  const folder = await mkdtemp(join(tmpdir(), 'keepwatch-tshark-'))
  try {
    const file = join(folder, 'flows.pcap')
    await writeFile(file, pcapOf(datagrams))
    const decodeAs = `udp.port==${port},cflow`
    const { stdout } = await promisify(execFile)(
      'tshark',
      ['-r', file, '-d', decodeAs, '-T', 'json', '--no-duplicate-keys', '-J', 'cflow'],
      { maxBuffer: 256 * 1024 * 1024, timeout: 100_000, env: { ...process.env, TZ: 'UTC' } },
    )
    const packets = JSON.parse(stdout) as { _source: { layers: { cflow?: Tree } } }[]
    const options = new Map<string, Set<string>>()
    return packets.map((packet, index) => {
      const { address } = datagrams[index]!
      const known = options.get(address) ?? new Set<string>()
      options.set(address, known)
      return readingOf(packet._source.layers.cflow ?? {}, known)
    })
  } finally {
    await rm(folder, { recursive: true })
  }
}

/** @param options ids of the exporter's options templates, whose records are no flows */
function readingOf(message: Tree, options: Set<string>): Reading {
  const flows: Flow[] = []
  for (const [name, part] of Object.entries(message)) {
    if (typeof part !== 'object' || Array.isArray(part)) continue
    if (/^pdu /i.test(name)) flows.push(flatten(part))
    if (!/^(Flow)?Set /.test(name)) continue
    if (/Options Template/.test(name)) {
      for (const id of flatten(part)['cflow.template_id'] ?? []) options.add(id)
      continue
    }
    if (options.has(String(part['cflow.flowset_id']))) continue
    for (const [key, flow] of Object.entries(part)) {
      if (/^Flow \d/.test(key)) flows.push(flatten(flow as Tree))
    }
  }
  const header = flatten(message)
  const seconds = header['cflow.unix_secs']?.[0]
  const nanoseconds = header['cflow.unix_nsecs']?.[0]
  const uptime = header['cflow.sysuptime']?.[0]
  return {
    flows,
    exported:
      seconds === undefined
        ? undefined
        : Number(seconds) * 1000 + Math.floor(Number(nanoseconds ?? 0) / 1e6),
    uptime: uptime === undefined ? undefined : Math.round(Number(uptime) * 1000),
  }
}

function flatten(tree: Tree, into: Flow = {}): Flow {
  for (const [name, value] of Object.entries(tree)) {
    for (const item of Array.isArray(value) ? value : [value]) {
      if (typeof item === 'object') flatten(item, into)
      else {
        into[name] ??= []
        into[name].push(item)
      }
    }
  }
  return into
}

function pcapOf(datagrams: readonly { address: string; bytes: Uint8Array }[]): Buffer {
  const linkTypeRaw = 101
  const header = Buffer.alloc(24)
  header.writeUInt32LE(0xa1b2c3d4, 0)
  header.writeUInt16LE(2, 4)
  header.writeUInt16LE(4, 6)
  header.writeUInt32LE(65_535, 16)
  header.writeUInt32LE(linkTypeRaw, 20)
  const parts = datagrams.flatMap(({ address, bytes }, index) => {
    const record = Buffer.alloc(16)
    const packet = packetOf(address, bytes)
    record.writeUInt32LE(1_700_000_000 + index, 0)
    record.writeUInt32LE(packet.length, 8)
    record.writeUInt32LE(packet.length, 12)
    return [record, packet]
  })
  return Buffer.concat([header, ...parts])
}

/** An IPv4 packet with a UDP datagram; checksums are left out, tshark does not ask for them. */
function packetOf(address: string, payload: Uint8Array): Buffer {
  const headers = Buffer.alloc(28)
  headers.writeUInt8(0x45, 0)
  headers.writeUInt16BE(28 + payload.length, 2)
  headers.writeUInt8(64, 8)
  headers.writeUInt8(17, 9)
  headers.set(address.split('.').map(Number), 12)
  headers.set([192, 0, 2, 1], 16)
  headers.writeUInt16BE(port, 20)
  headers.writeUInt16BE(port, 22)
  headers.writeUInt16BE(8 + payload.length, 24)
  return Buffer.concat([headers, payload])
}
