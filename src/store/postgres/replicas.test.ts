import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Registry } from 'prom-client'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { applicationName, log, setUpMs } from '../../../test/contract/databases.ts'
import { createReplicaTemplate, type Replicas } from '../../../test/contract/replicas.ts'
import { systemClock } from '../../lib/clock.ts'
import { DatabaseAway } from '../../lib/errors.ts'
import { createDatabase, type Database } from './database.ts'

const who = { name: 'a test' }

/** Longer than the longest wait for a single statement, and than a promotion on a busy machine. */
const patienceMs = 90_000

// The processes of a PostgreSQL are found by /proc.
describe.skipIf(!existsSync('/proc/self/task'))(
  'a database of two hosts (needs /proc)',
  { timeout: 180_000 },
  () => {
    let template: Awaited<ReturnType<typeof createReplicaTemplate>>
    let hosts: Replicas
    let metrics: Registry
    let database: Database

    beforeAll(async () => {
      template = await createReplicaTemplate()
    }, setUpMs)
    afterAll(() => template.stop())
    beforeEach(() => {
      metrics = new Registry()
    })
    afterEach(async () => {
      await database.stop()
      await hosts.stop()
    }, setUpMs)

    async function begin(config: { synchronous?: boolean } = {}) {
      hosts = await template.start(config)
      database = open()
      await database.start()
      await write('before')
      await expect
        .poll(() => hosts.second.query('SELECT FROM audit').catch(() => []), {
          timeout: patienceMs,
        })
        .toHaveLength(1)
    }

    const open = () =>
      createDatabase(
        { log, metrics, clock: systemClock },
        { url: hosts.url, applicationName, poolSize: 5 },
      )

    const write = (subject: string) =>
      database.fenced(0, who, tx =>
        tx.query('INSERT INTO audit (who, action, subject, term) VALUES ($1, $1, $2, $3)', [
          who.name,
          subject,
          tx.term,
        ]),
      )

    /** Tries until it succeeds; what fails meanwhile must be that the database is away. */
    async function writeInTheEnd(subject: string) {
      const deadline = performance.now() + patienceMs
      for (let tries = 0; ; tries++) {
        try {
          await write(`${subject}/${tries}`)
          return
        } catch (error) {
          expect(error).toBeInstanceOf(DatabaseAway)
          if (performance.now() > deadline) throw error
          await sleep(50)
        }
      }
    }

    const subjects = async () =>
      (await database.query<{ subject: string }>('SELECT subject FROM audit ORDER BY id')).map(
        row => row.subject,
      )

    const value = async (name: string) =>
      (await metrics.getSingleMetric(name)!.get()).values.reduce((sum, { value }) => sum + value, 0)

    test('goes on on the replica that was promoted when the primary was killed, and loses nothing that it acknowledged', async () => {
      await begin({ synchronous: true })
      const acknowledged = ['before']
      const unknown: string[] = []
      const refused: string[] = []
      let last = Number.POSITIVE_INFINITY
      const writers = Array.from({ length: 4 }, async (_, writer) => {
        for (let number = 0; acknowledged.length < last; number++) {
          const subject = `${writer}/${number}`
          try {
            await write(subject)
            acknowledged.push(subject)
          } catch (error) {
            expect(error).toBeInstanceOf(DatabaseAway)
            if ((error as DatabaseAway).outcome === 'unknown') unknown.push(subject)
            else refused.push(subject)
            await sleep(20)
          }
        }
      })
      await expect.poll(() => acknowledged.length, { timeout: patienceMs }).toBeGreaterThan(100)
      await hosts.first.kill()
      const before = acknowledged.length
      const ordered = performance.now()
      await hosts.second.query('SELECT pg_promote()')
      await expect
        .poll(() => acknowledged.length, { timeout: patienceMs, interval: 5 })
        .toBeGreaterThan(before)
      const resumedMs = Math.round(performance.now() - ordered)
      last = acknowledged.length + 100
      await Promise.all(writers)

      const kept = await subjects()
      expect(new Set(kept).size).toBe(kept.length)
      expect(acknowledged.filter(subject => !kept.includes(subject))).toEqual([])
      expect(refused.filter(subject => kept.includes(subject))).toEqual([])
      expect(await value('keepwatch_database_moves_total')).toBe(1)
      console.log(
        `${acknowledged.length} acknowledged, 0 lost; ${unknown.length} unknown, ` +
          `${refused.length} refused; writing again ${resumedMs} ms after the promotion was ordered`,
      )
    })

    test('does not go back to the old primary, which came back without having noticed', async () => {
      await begin()
      await hosts.first.kill()
      await hosts.second.query('SELECT pg_promote()')
      await writeInTheEnd('after')
      await hosts.first.start()

      const another = createDatabase(
        { log, metrics: new Registry(), clock: systemClock },
        { url: hosts.url, applicationName, poolSize: 1 },
      )
      await another.start()
      expect((await another.health()).host).toBe((await database.health()).host)
      await another.stop()

      await hosts.second.kill()
      const error = await write('lost').catch(caught => caught)
      expect(error).toBeInstanceOf(DatabaseAway)
      expect((await database.health()).reachable).toBe(false)
      expect(await hosts.first.query('SELECT subject FROM audit')).toEqual([{ subject: 'before' }])
    })

    test('leaves a primary that has fallen silent, without waiting for it for long', async () => {
      await begin()
      await database.query('SELECT')
      await hosts.first.freeze()
      const began = performance.now()
      const error = await database.query('SELECT').catch(caught => caught)
      expect(error).toBeInstanceOf(DatabaseAway)
      const waitedMs = performance.now() - began
      expect(waitedMs).toBeLessThan(12_000)
      await hosts.second.query('SELECT pg_promote()')
      await writeInTheEnd('after')
      hosts.first.wake()
      await writeInTheEnd('and on')
      expect((await subjects()).map(subject => subject.replace(/\/\d+$/, ''))).toEqual(
        expect.arrayContaining(['after', 'and on']),
      )
      console.log(`a question to a silent database was given up after ${Math.round(waitedMs)} ms`)
    })

    test('is left without a wait when it is silent and the server stops', async () => {
      await begin()
      const asked = Array.from({ length: 8 }, () =>
        database.query('SELECT pg_sleep(0)').catch(() => {}),
      )
      await Promise.all(asked)
      await hosts.first.freeze()
      await hosts.second.freeze()
      const began = performance.now()
      const asking = database.query('SELECT').catch(() => {})
      expect(await database.health()).toMatchObject({ reachable: false })
      await database.stop()
      await asking
      const tookMs = performance.now() - began
      expect(tookMs).toBeLessThan(20_000)
      console.log(`stopped within ${Math.round(tookMs)} ms of the silence`)
    })

    test('stays with a primary that restarts, and counts what failed meanwhile', async () => {
      await begin()
      const { host } = await database.health()
      await hosts.first.kill()
      await expect(write('meanwhile')).rejects.toBeInstanceOf(DatabaseAway)
      await hosts.first.start()
      await writeInTheEnd('after')
      expect(await database.health()).toMatchObject({ reachable: true, host, writable: true })
      expect(await value('keepwatch_database_failures_total')).toBeGreaterThan(0)
    })

    test('can be read on the replica while no host takes writes', async () => {
      await begin()
      await hosts.first.kill()
      const deadline = performance.now() + patienceMs
      while ((await subjects().catch(() => [])).length === 0 && performance.now() < deadline) {
        await sleep(50)
      }
      expect(await subjects()).toEqual(['before'])
      const error = await write('nowhere').catch(caught => caught)
      expect(error).toMatchObject({ name: 'DatabaseAway', outcome: 'nothing-written' })
      expect(await database.health()).toMatchObject({ reachable: true, writable: false })
      await hosts.first.start()
      await writeInTheEnd('after')
    })

    test('refuses writes while it is read-only, and takes them again after that', async () => {
      await begin()
      const set = (to: 'on' | 'off') =>
        hosts.first.query(`ALTER SYSTEM SET default_transaction_read_only = ${to}`)
      await set('on')
      await hosts.first.query('SELECT pg_reload_conf()')
      await expect
        .poll(() => write('no').catch(error => error.outcome), { timeout: patienceMs })
        .toBe('nothing-written')
      await expect
        .poll(async () => (await database.health()).writable, { timeout: patienceMs })
        .toBe(false)
      // ALTER SYSTEM is allowed in a read-only transaction: it writes a file.
      await set('off')
      await hosts.first.query('SELECT pg_reload_conf()')
      await writeInTheEnd('again')
    })

    test('is away while both hosts are, and there again when one is', async () => {
      await begin()
      await Promise.all([hosts.first.kill(), hosts.second.kill()])
      const error = await write('nowhere').catch(caught => caught)
      expect(error).toMatchObject({ name: 'DatabaseAway', outcome: 'nothing-written' })
      expect(await database.health()).toMatchObject({ reachable: false, writable: null })
      await hosts.first.start()
      await writeInTheEnd('after')
    })
  },
)
