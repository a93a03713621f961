/**
 * Sampling rates as exporters announce them, and which announcement holds for a record:
 * what the record says > its sampler > its interface > its domain > its exporter > 1.
 */
export type SamplingRule =
  | 'record'
  | 'header'
  | 'sampler'
  | 'interface'
  | 'domain'
  | 'exporter'
  | 'none'

/** The rate that was last applied, and why: one of `rate` packets was looked at. */
export interface AppliedSampling {
  rate: number
  rule: SamplingRule
}

/** Rates announced within one scope: an observation domain, or a whole exporter. */
export interface Rates {
  /** 0 = none announced. */
  base: number
  readonly samplers: Map<number, number>
  readonly interfaces: Map<number, number>
}

export function createRates(): Rates {
  return { base: 0, samplers: new Map(), interfaces: new Map() }
}

/** One announcement: the values of an options record, 0 or undefined where it does not say. */
export interface Announcement {
  sampler: number | undefined
  interface: number | undefined
  rate: number
}

/** Files an announcement; 'full' if the scope holds `max` already, 'same' if it is no news. */
export function announce(rates: Rates, heard: Announcement, max: number): 'new' | 'same' | 'full' {
  if (heard.sampler === undefined && heard.interface === undefined) {
    if (rates.base === heard.rate) return 'same'
    rates.base = heard.rate
    return 'new'
  }
  const [map, key] =
    heard.sampler !== undefined
      ? [rates.samplers, heard.sampler]
      : [rates.interfaces, heard.interface!]
  const known = map.get(key)
  if (known === heard.rate) return 'same'
  if (known === undefined && map.size >= max) return 'full'
  map.set(key, heard.rate)
  return 'new'
}

/**
 * Decides the rate of a record and notes it in `applied`.
 *
 * @param stated the rate in the record itself, 0 = none
 * @param sampler the sampler id in the record, −1 = its template has none
 */
export function decideRate(
  domain: Rates,
  exporter: Rates,
  applied: AppliedSampling,
  stated: number,
  sampler: number,
  inInterface: number,
): number {
  if (stated > 0) return apply(applied, stated, 'record')
  if (sampler >= 0) {
    const rate = domain.samplers.get(sampler) ?? exporter.samplers.get(sampler)
    if (rate !== undefined) return apply(applied, rate, 'sampler')
  }
  if (domain.interfaces.size + exporter.interfaces.size > 0) {
    const rate = domain.interfaces.get(inInterface) ?? exporter.interfaces.get(inInterface)
    if (rate !== undefined) return apply(applied, rate, 'interface')
  }
  if (domain.base > 0) return apply(applied, domain.base, 'domain')
  // An exporter with one sampler may announce it and never refer to it.
  if (sampler < 0 && domain.samplers.size === 1) {
    for (const rate of domain.samplers.values()) return apply(applied, rate, 'domain')
  }
  if (exporter.base > 0) return apply(applied, exporter.base, 'exporter')
  if (sampler < 0 && exporter.samplers.size === 1) {
    for (const rate of exporter.samplers.values()) return apply(applied, rate, 'exporter')
  }
  return apply(applied, 1, 'none')
}

export function apply(applied: AppliedSampling, rate: number, rule: SamplingRule): number {
  applied.rate = rate
  applied.rule = rule
  return rate
}

/** The rate of count- or time-based selection (RFC 5477 §8.2.3, §8.2.4): elements 305 and 306. */
export function rateOfInterval(interval: number, space: number): number {
  return interval > 0 ? clampRate((interval + space) / interval) : 0
}

/** The rate of selecting `size` out of `population` (RFC 5477 §8.2.5): elements 309 and 310. */
export function rateOfPopulation(size: number, population: number): number {
  return size > 0 ? clampRate(population / size) : 0
}

/** A rate as the column can hold it: a whole number from 1 to 2^32 − 1; 0 stays "not said". */
export function clampRate(rate: number): number {
  if (!(rate > 0)) return 0
  return Math.min(Math.max(Math.round(rate), 1), 0xffff_ffff)
}
