import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { startEdge } from '../../test/fixtures/http-edge.ts'
import { type Endpoint, errorCodes } from './contract/endpoint.ts'
import { basePath, endpoints } from './contract/index.ts'
import { openApi } from './openapi.ts'

interface Operation {
  operationId: string
  summary: string
  security?: object[]
  parameters: { name: string; in: string; required: boolean; schema: object }[]
  requestBody?: { content: Record<string, { schema: object }> }
  responses: Record<string, { content: Record<string, { schema: object }> }>
}

// biome-ignore lint/suspicious/noExplicitAny: the document as a program reads it
const document = JSON.parse(JSON.stringify(openApi('1.2.3'))) as any
const paths = document.paths as Record<string, Record<string, Operation>>
const operations = Object.entries(paths).flatMap(([path, item]) =>
  Object.entries(item).map(([method, operation]) => ({ path, method, operation })),
)

/** Every object in the document with the path to it. */
function* objectsIn(value: unknown, at = '#'): Generator<[string, Record<string, unknown>]> {
  if (value === null || typeof value !== 'object') return
  if (!Array.isArray(value)) yield [at, value as Record<string, unknown>]
  for (const [key, inner] of Object.entries(value)) yield* objectsIn(inner, `${at}/${key}`)
}

describe('the OpenAPI document', () => {
  test('is served as it is, to everybody', async () => {
    const edge = await startEdge()
    const reply = await edge.call('GET', `${basePath}/openapi.json`)
    await edge.stop()
    expect(reply.status).toBe(200)
    expect(reply.headers['content-type']).toContain('application/json')
    expect(reply.json).toEqual(document)
  })

  test('says which version of OpenAPI and of Keepwatch it is, and where the API is', () => {
    expect(document).toMatchObject({
      openapi: '3.1.0',
      info: { title: 'Keepwatch', version: '1.2.3', license: { identifier: 'Apache-2.0' } },
      servers: [{ url: basePath }],
    })
    expect(Object.keys(document)).toEqual(
      expect.arrayContaining(['openapi', 'info', 'paths', 'components']),
    )
  })

  test('has every operation of the contract once, and no other', () => {
    const found = operations.map(({ path, method, operation }) => [
      operation.operationId,
      method.toUpperCase(),
      path.replaceAll(/\{(\w+)\}/g, ':$1'),
    ])
    const wanted = Object.entries<Endpoint>(endpoints).map(([name, { method, path }]) => [
      name,
      method,
      path,
    ])
    expect(found.sort()).toEqual(wanted.sort())
  })

  test('resolves every reference within itself', () => {
    const references = [...objectsIn(document)].filter(([, value]) => '$ref' in value)
    expect(references.length).toBeGreaterThan(0)
    for (const [at, { $ref }] of references) {
      expect($ref, at).toMatch(/^#\//)
      let target: unknown = document
      for (const part of String($ref).slice(2).split('/')) {
        target = (target as Record<string, unknown>)?.[part]
      }
      expect(target, `${at} → ${$ref}`).toBeTypeOf('object')
    }
  })

  test.each(operations)('$method $path declares its parameters, each with a schema', operation => {
    const { path, operation: found } = operation
    const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(match => match[1])
    const declared = found.parameters.filter(({ in: place }) => place === 'path')
    expect(declared.map(({ name }) => name)).toEqual(inPath)
    const keys = found.parameters.map(parameter => `${parameter.in} ${parameter.name}`)
    expect(new Set(keys).size).toBe(keys.length)
    for (const parameter of found.parameters) {
      expect(['path', 'query']).toContain(parameter.in)
      expect(parameter.required).toBe(
        parameter.in === 'path' || parameter.name === 'by' ? parameter.required : false,
      )
      expect(Object.keys(parameter.schema), parameter.name).not.toEqual([])
    }
    for (const parameter of declared) expect(parameter.required).toBe(true)
  })

  test.each(operations)('$method $path says what it takes and what it answers', operation => {
    const { method, operation: found } = operation
    const endpoint = (endpoints as Record<string, Endpoint>)[found.operationId]!
    expect(found.summary).not.toBe('')
    expect(found.security).toEqual(endpoint.role === 'anyone' ? [] : undefined)
    expect(found.requestBody !== undefined).toBe(endpoint.body !== undefined)
    if (method === 'get') expect(found.requestBody).toBeUndefined()
    const type = endpoint.stream ? 'text/event-stream' : 'application/json'
    const { schema } = found.responses[200]!.content[type]!
    expect(schema).toMatchObject({ type: 'object' })
    expect(found.responses.default!.content['application/json']!.schema).toEqual({
      $ref: '#/components/schemas/Error',
    })
  })

  test('speaks the dialect of JSON Schema that OpenAPI 3.1 does, and only in types there are', () => {
    const known = ['string', 'number', 'integer', 'boolean', 'object', 'array', 'null']
    for (const [at, value] of objectsIn(document)) {
      if (at.includes('/securitySchemes/') || at.includes('/default') || at.endsWith('/properties'))
        continue
      if (typeof value.type === 'string') expect(known, at).toContain(value.type)
      for (const keyword of ['nullable', 'example', '$schema', 'id', '$id', 'definitions']) {
        expect(keyword in value, `${at} has ${keyword}`).toBe(false)
      }
      if ('required' in value && Array.isArray(value.required)) {
        const properties = Object.keys((value.properties ?? {}) as object)
        expect(properties, at).toEqual(expect.arrayContaining(value.required))
      }
    }
  })

  test('tells what to write in a parameter whose form no schema can tell', () => {
    const top = paths['/traffic/top']!.get!
    const where = top.parameters.find(({ name }) => name === 'where')
    expect(where).toMatchObject({ description: expect.stringContaining('dimension=value') })
    const by = top.parameters.find(({ name }) => name === 'by')
    expect(by).toMatchObject({ required: true, description: expect.stringContaining('commas') })
  })
})

test('the page about the API names every code of an error with its status', () => {
  const page = readFileSync(join(import.meta.dirname, '../../docs/reference/api.md'), 'utf8')
  const named = [...page.matchAll(/^\| `([a-z-]+)` +\| (\d{3}) +\|/gm)].map(([, code, status]) => [
    code,
    Number(status),
  ])
  expect(Object.fromEntries(named)).toEqual(errorCodes)
})
