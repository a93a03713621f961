import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { databaseTargets } from './database-hosts.ts'

/** What `pg` makes of each target. */
function read(url: string) {
  return databaseTargets(url).map(target => {
    const { host, port, user, password, database, ssl } = new pg.Client(target) as pg.Client & {
      ssl: unknown
    }
    expect({ host, port }).toEqual({ host: target.host, port: target.port })
    return { at: `${host} ${port}`, user, password, database, ssl }
  })
}

describe('the hosts of a database URL', () => {
  test('are one target each, with the same user, password, name and TLS', () => {
    const rest = { user: 'watch', password: 'secret', database: 'state', ssl: {} }
    const url =
      'postgresql://watch:secret@db1:5433,db2,[2001:db8::1],[::1]:6000,192.0.2.7/state?sslmode=verify-full&target_session_attrs=read-write'
    expect(read(url)).toEqual(
      ['db1 5433', 'db2 5432', '2001:db8::1 5432', '::1 6000', '192.0.2.7 5432'].map(at => ({
        at,
        ...rest,
      })),
    )
  })

  test('may be a single one', () => {
    expect(read('postgres://watch:secret@db1/state')).toEqual([
      { at: 'db1 5432', user: 'watch', password: 'secret', database: 'state', ssl: false },
    ])
  })

  test('may be named by parameters, a folder of a socket too', () => {
    const ats = (url: string) => read(url).map(({ at }) => at)
    expect(ats('postgresql://watch@/state?host=db1,db2&port=5433')).toEqual([
      'db1 5433',
      'db2 5433',
    ])
    expect(ats('postgresql://watch@/state?host=::1,db2&port=1,2')).toEqual(['::1 1', 'db2 2'])
    expect(ats('postgresql://watch@/state?host=/run/postgresql')).toEqual(['/run/postgresql 5432'])
    expect(ats('postgresql://watch@%2Frun%2Fpostgresql/state')).toEqual(['/run/postgresql 5432'])
    expect(ats('postgresql:///state')).toEqual(['localhost 5432'])
  })

  test.each([
    ['p%40ss%2Fw%3Ard', 'p@ss/w:rd'],
    ['a,b@c', 'a,b@c'],
    ['50%off', '50%off'],
    ['50%off%2C', '50%off,'],
    ['%25%20%C3%BC', '% ü'],
    ["+&='", "+&='"],
    ['two words', 'two words'],
  ])('take the password %s as %s', (written, password) => {
    for (const target of read(`postgresql://watch:${written}@db1,db2/state`)) {
      expect(target.password).toBe(password)
    }
  })

  test('keep parameters that are for PostgreSQL', () => {
    const [target] = databaseTargets('postgresql://db1/state?options=-c%20search_path%3Dkeepwatch')
    const { connectionParameters } = new pg.Client(target) as unknown as {
      connectionParameters: { options: string }
    }
    expect(connectionParameters.options).toBe('-c search_path=keepwatch')
  })

  test('can be given to a thread', () => {
    const targets = databaseTargets(
      'postgresql://watch@db1,db2/state?uselibpqcompat=true&sslmode=require',
    )
    expect(structuredClone(targets)).toEqual(targets)
  })

  test.each([
    ['mysql://u:hunter2@db1/state', /must look like postgresql:/],
    [
      'postgresql://u:hunter2/x@db1/state',
      /port that is not a number|must look like|must be a name/,
    ],
    ['postgresql://u:1234/hunter2@db1/state', /must look like .* \/ %2F/],
    ['postgresql://u:hunter2#x@db1/state', /must look like .* # %23/],
    ['postgresql://u:hunter2@db1:http/state', /must be a name or an address/],
    ['postgresql://u:hunter2@db1:0/state', /port that is not a number from 1 to 65535/],
    ['postgresql://u:hunter2@db1:70000/state', /port that is not a number/],
    ['postgresql://u:hunter2@2001:db8::1/state', /IPv6 in \[brackets\]/],
    ['postgresql://u:hunter2@[db1]/state', /something else than an IPv6 address/],
    ['postgresql://u:hunter2@db1,,db2/state', /neither a name nor an address/],
    ['postgresql://u:hunter2@d$b/state', /neither a name nor an address/],
    ['postgresql://u:hunter2%E0%A4@db1/state', /percent-encoded UTF-8/],
    ['postgresql://u:hunter2@db1/state?host=db2', /twice/],
    ['postgresql://u:hunter2@/state?host=a,b,c&port=1,2', /3 hosts and 2 ports/],
    ['postgresql://u:hunter2@db1/state?target_session_attrs=standby', /must be read-write/],
    [
      'postgresql://u:hunter2@db1/state?application_name=x',
      /application_name, which Keepwatch sets/,
    ],
    ['postgresql://u:hunter2@db1/state?query_timeout=0', /query_timeout, which Keepwatch sets/],
    [`postgresql://u:hunter2@${Array(17).fill('db')}/state`, /17 hosts; at most 16/],
  ])('are refused in %s', (url, message) => {
    expect(() => databaseTargets(url)).toThrow(message)
    expect(() => databaseTargets(url)).not.toThrow('hunter2')
  })
})
