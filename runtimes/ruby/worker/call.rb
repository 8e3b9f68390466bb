# A call: a question of the host's that is answered once, and what is printed for it. It
# is a group of threads: a new thread is in the group of the one that started it.

module Envoke
  INFO, WARN, ERROR = 1, 2, 3
  MAX_ENTRY, MAX_LOGGED, ENTRY_COST = 8 << 10, 1 << 20, 16 # bytes

  class Call < ThreadGroup
    attr_reader :id, :answered

    def self.current
      call = Thread.current.group
      Call === call && !call.answered ? call : BACKGROUND
    end

    def initialize(id)
      super()
      @id, @partial = id, {}
      renew
    end

    def renew = (@left, @dropped = MAX_LOGGED, 0)

    def answer(kind, payload)
      @partial.keys.each { |level| end_line(level) }
      Envoke.send(LOG, @id, "#{WARN.chr}#{@dropped} more characters were not logged") if @dropped > 0
      @answered = true
      Envoke.send(kind, @id, payload)
    end

    # Logs a text that ends its line; another waits for the rest.
    def print(level, text)
      text = @partial.delete(level).to_s + Envoke.cut(text, text.bytesize * 3)
      return log(level, text.chomp) if text.end_with?("\n")
      @partial[level] = text[0, MAX_ENTRY] unless text.empty?
    end

    def end_line(level)
      text = @partial.delete(level) and log(level, text)
    end

    private def log(level, text)
      entry = Envoke.cut(text, MAX_ENTRY)
      @left -= ENTRY_COST + entry.bytesize
      return @dropped += text.size if @left < 0
      Envoke.send(LOG, @id, level.chr + entry)
    end
  end

  BACKGROUND = Call.new(0) # of what is printed outside of any call

  # Is standard output or error. Whatever prints in Ruby comes by these.
  class Stream < IO
    def write(*texts)
      texts = texts.map(&:to_s)
      Call.current.print(fileno == 1 ? INFO : ERROR, texts.join)
      texts.sum(&:bytesize)
    end

    def fileno = @fileno ||= super
    def write_nonblock(text, **) = write(text)
    alias syswrite write

    def flush
      Call.current.end_line(fileno == 1 ? INFO : ERROR)
      self
    end
  end

  def self.take_output
    $stdout, $stderr = Stream.for_fd(1, 'w', autoclose: false), Stream.for_fd(2, 'w', autoclose: false)
    Object.send(:remove_const, :STDOUT)
    Object.send(:remove_const, :STDERR)
    Object.const_set(:STDOUT, $stdout)
    Object.const_set(:STDERR, $stderr)
    Warning.define_singleton_method(:warn) { |text, **| Call.current.print(WARN, text) }
  end
end
