# The program with all that it needs: docker build --tag circuitstore .
#
# Everything it writes is under /data. Layers: dependencies first (gigabytes, the same until pyproject.toml or
# constraints.txt change), then the package.
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS wheel
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:${PYTHON}
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PYTHONUNBUFFERED=1

COPY pyproject.toml constraints.txt /requirements/
RUN cd /requirements \
    && python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; e = p['optional-dependencies']; print(*p['dependencies'], *e['fast'], *e['postgres'], sep='\n')" > requirements.txt \
    && pip install --requirement requirements.txt --constraint constraints.txt

COPY --from=wheel /wheels /wheels
RUN pip install --no-deps /wheels/*.whl

# no account of the host's; what libraries keep at home (downloaded weights) lies in the volume as well
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin circuitstore \
    && install --directory --owner circuitstore --mode 0750 /data
ENV HOME=/data
USER circuitstore
WORKDIR /data
VOLUME /data
RUN circuitstore --version && python -c "import ladybug, neo4j, psycopg, timm, torch"

ENTRYPOINT ["circuitstore"]
CMD ["--help"]
