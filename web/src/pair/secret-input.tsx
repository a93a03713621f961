import { PasswordInput } from '@mantine/core'
import type { Errors, Fields, Secret } from './settings-form.ts'

/** What each part of the form of the pair's settings is given. */
export interface FormPart {
  fields: Fields
  errors: Errors
  /** Which secrets the server has. */
  kept: Record<Secret, boolean>
  readOnly: boolean
  set: (change: Partial<Fields>) => void
}

/** Written, never read: empty leaves what is there. */
export function SecretInput({
  fields,
  errors,
  kept,
  readOnly,
  set,
  name,
  label,
}: FormPart & { name: Secret; label: string }) {
  const value = fields.secrets[name]
  const put = (next: string | null) => set({ secrets: { ...fields.secrets, [name]: next } })
  return (
    <div>
      <PasswordInput
        label={label}
        description={
          value === null
            ? 'Is removed when you save'
            : kept[name]
              ? 'One is kept; empty leaves it as it is'
              : 'None is kept'
        }
        autoComplete="new-password"
        readOnly={readOnly}
        value={value ?? ''}
        error={errors[`secrets.${name}`]}
        onChange={event => put(event.currentTarget.value)}
        data-testid={name}
      />
      {kept[name] && !readOnly && (
        <button type="button" className="linklike" onClick={() => put(value === null ? '' : null)}>
          {value === null ? 'Keep it' : 'Remove it'}
          <span className="sr-only">: {label}</span>
        </button>
      )}
    </div>
  )
}
