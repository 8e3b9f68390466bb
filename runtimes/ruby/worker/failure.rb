# Failures, as the host gets them: of anything that may be raised, with the place in the
# user's own source and without a frame of the worker's.

module Envoke
  MAX_TYPE, MAX_MESSAGE, MAX_STACK = 128, 8 << 10, 16 << 10 # bytes
  FIRST_FRAMES, LAST_FRAMES, MAX_CAUSES = 10, 40, 8

  # Returns the JSON of the failure that the host is told of.
  def self.failure(kind, error, filename)
    kind = 'output' if TooLarge === error
    kind = 'memory' if NoMemoryError === error && kind != 'load'
    message, line, column = message_of(error), places(error, filename).first&.lineno, 0
    if SyntaxError === error && message =~ /^#{Regexp.escape(filename)}:(\d+): (.*)$/
      line, column, said = $1.to_i, (message[/^ *\^/] || '').size, $2
    end
    stack = trace(error, filename)
    JSON.generate(kind: kind, type: cut(type_of(error), MAX_TYPE), message: cut(said || message, MAX_MESSAGE),
                  line: line.to_i, column: column, stack_trace: cut(stack, MAX_STACK))
  end

  def self.type_of(error) = Object.instance_method(:class).bind_call(error).to_s.delete_prefix('Envoke::')

  def self.message_of(error)
    String.new(error.message)
  rescue Exception
    '<its message could not be read>'
  end

  # Returns the entries of the backtrace in the user's file, innermost first.
  def self.places(error, filename)
    (error.backtrace_locations || []).select { |place| place.path == filename }
  rescue Exception # an error's class may have methods that raise
    []
  end

  # Returns the backtrace as Ruby prints it, and those of the causes.
  def self.trace(error, filename, causes = MAX_CAUSES)
    lines = places(error, filename).map(&:to_s)
    left_out = lines.size - FIRST_FRAMES - LAST_FRAMES
    lines[FIRST_FRAMES, left_out] = "[#{left_out} more]" if left_out > 0
    lines[0] = [lines[0], "#{message_of(error)} (#{type_of(error)})"].compact.join(': ')
    text, cause = lines.join("\n\tfrom "), Exception.instance_method(:cause).bind_call(error)
    cause && causes > 0 ? "#{text}\n#{trace(cause, filename, causes - 1)}" : text
  end
end
