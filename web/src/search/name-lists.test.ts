import { expect, test } from 'vitest'
import { applicationsText, networksText, parseApplications, parseNetworks } from './name-lists.ts'

test('networks are read as they are written', () => {
  const networks = [
    { prefix: '10.0.0.0/8', name: 'office', site: 'Berlin' },
    { prefix: '2001:db8::/32', name: 'lab', site: '' },
  ]
  expect(networksText(networks)).toBe('10.0.0.0/8, office, Berlin\n2001:db8::/32, lab')
  expect(parseNetworks(`# ours\n\n${networksText(networks)}\n`)).toEqual({ entries: networks })
})

test('applications are read as they are written', () => {
  const applications = [
    { protocol: 6, port: 8123, name: 'our database' },
    { protocol: 46, port: 0, name: 'rsvp' },
  ]
  expect(applicationsText(applications)).toBe('tcp/8123, our database\n46/0, rsvp')
  expect(parseApplications(applicationsText(applications))).toEqual({ entries: applications })
  expect(parseApplications('UDP/53,dns')).toEqual({
    entries: [{ protocol: 17, port: 53, name: 'dns' }],
  })
})

test.each([
  ['10.0.0.0/8, office\n10.0.0.0, lab', 2, '"10.0.0.0" must look like'],
  ['10.0.0.0/8', 1, 'must be: prefix, name, site'],
  ['10.0.0.0/8, a, b, c', 1, 'must be: prefix, name, site'],
])('networks %j are wrong in line %i', (text, line, wrong) => {
  expect(parseNetworks(text)).toEqual({ line, wrong: expect.stringContaining(wrong) })
})

test.each([
  ['443, https', '"443" must look like'],
  ['tcp/70000, x', '"tcp/70000" must look like'],
  ['abc/1, x', '"abc/1" must look like'],
  ['tcp/1', 'must be: protocol/port, name'],
])('an application %j is wrong', (text, wrong) => {
  expect(parseApplications(text)).toEqual({ line: 1, wrong: expect.stringContaining(wrong) })
})
