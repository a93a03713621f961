/** Times of flow records: exporters count from their boot, by wrong clocks, in six units. Milliseconds since 1970 unless said otherwise. */
import { flowTable } from '../telemetry/flow.ts'

const wrap = 0x1_0000_0000

const { pastMs, futureMs } = flowTable.receipt.near

/** Seconds from the NTP epoch (1900) to 1970. */
const ntpEpoch = 2_208_988_800

/**
 * The wall time of an uptime (NetFlow 5 and 9 FIRST/LAST_SWITCHED, IPFIX elements 21 and 22).
 * Uptimes wrap at 49.7 days: of the two moments that one may mean, the one nearer to the datagram
 * is taken, because it may as well be a little ahead, of a packet that passed while the datagram
 * was built.
 *
 * @param exported wall time of the datagram
 * @param uptime the exporter's uptime at that moment, modulo 2^32
 * @param at the uptime to convert
 */
export function wallOfUptime(exported: number, uptime: number, at: number): number {
  return exported - ((uptime - at) | 0)
}

/**
 * Uptime now of an exporter that says when it started (IPFIX element 160), in the form that
 * `wallOfUptime` wants.
 */
export function uptimeSince(started: number, exported: number): number {
  return ((exported - started) % wrap) >>> 0
}

/** An NTP timestamp of seconds and a 32-bit fraction (RFC 7011 §6.1.9, §6.1.10). */
export function wallOfNtp(seconds: number, fraction: number): number {
  return (seconds - ntpEpoch) * 1000 + Math.floor((fraction * 1000) / wrap)
}

/** Whether the end of a flow is near enough to its arrival to be believed. */
export function isPlausible(end: number, received: number): boolean {
  return end >= received - pastMs && end <= received + futureMs
}
